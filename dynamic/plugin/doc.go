// Package plugin loads services at run time. A [Host] serves services that it was not compiled
// with, replaces them while they are in use, and unloads them.
//
// # Use
//
// A plugin is a folder that contains a manifest named plugin.json (see [Manifest]) and the plugin's
// code. It usually also contains the descriptors of its services, either as a descriptor set or as
// .proto sources. A [Loader] runs the code. Use [WithLoaders] to give the host the loaders that its
// plugins need:
//
//   - Package dynamic/plugin/wasm runs WebAssembly in a sandbox. The code has no access to files,
//     the network or the environment.
//   - Package dynamic/plugin/goplugin loads shared objects built by the Go toolchain. Such a plugin
//     must be trusted with the whole process, and it is never unloaded from memory.
//   - Package dynamic/plugin/process starts executables that connect to the bus on their own. Such
//     a plugin must be trusted with everything that the host's user is allowed to do.
//
// [Host.Watch] watches a directory of plugins and loads, replaces and unloads them as their folders
// change. [Host.Load] and [Host.Unload] do this for a single plugin. To update a watched plugin,
// copy its new folder to a place outside the watched directory and then rename it into place. The
// host then never reads a partial copy.
//
// # Ordering
//
// The host makes only one change to a plugin at a time, but it may change several plugins
// concurrently. A new version takes over each service atomically. The previous version may finish
// the requests that it has already received, until the drain timeout expires (see
// [WithDrainTimeout]). Then its code is stopped. Events are delivered one at a time, in order.
//
// Each service belongs to one plugin. Loading a second plugin with the same service fails. However,
// if the first plugin is being unloaded, the load waits until the unload has finished.
//
// # Failures
//
// A plugin that cannot be loaded does not affect the host. The error gives the reason, and the
// previous version keeps serving. Either all services of a version are served, or none. If the code
// stops serving after it has been loaded, for example because its process exited, the plugin is
// degraded until the code recovers. Go plugins are less isolated: they run inside the host, so a
// panic outside their handlers terminates the host.
//
// # Debugging
//
// [Host.List] returns the state, the counters and the last error of every plugin. It also lists the
// folders that could not be read. The host emits an event for each change. By default, events are
// logged; use [WithEvents] to handle them instead.
//
// # Testing
//
// To test a host without building plugins, implement [Loader] and [Instance] in Go; see the example
// for [Host]. An in-process bus is sufficient for everything except process plugins.
package plugin
