// Package plugin loads services at run time: a [Host] serves services that it was not compiled
// with, replaces them while they are being called, and unloads them.
//
// # Use
//
// A plugin is a folder. It contains a manifest, plugin.json (see [Manifest]), the descriptors of
// its services, as a descriptor set or as .proto sources, and its code. A [Loader] runs the code.
// Pass the loaders that a host needs to [WithLoaders]:
//
//   - package dynamic/plugin/wasm runs WebAssembly in a sandbox. The code has no access to files,
//     network or environment.
//   - package dynamic/plugin/goplugin loads shared objects built by the Go toolchain. Such a plugin
//     must be trusted with the whole process, and it is never unloaded from memory.
//   - package dynamic/plugin/process starts executables, which serve on the bus themselves. Such a
//     plugin must be trusted with everything that the host's user may do.
//
// [Host.Watch] follows a directory of plugins. [Host.Load] and [Host.Unload] do the same by hand,
// for one plugin. To update a watched plugin, copy the new folder outside the watched directory and
// then rename it into place: the host then never reads a partial copy.
//
// # Ordering
//
// Changes of one plugin happen one at a time; different plugins change concurrently. A new version
// takes over each service in one step. The previous version finishes the requests that it has
// received, for at most the drain timeout (see [WithDrainTimeout]), and its code is closed
// afterwards. Events are delivered one at a time, in order.
//
// A service belongs to one plugin. Loading a second plugin with the same service fails, unless the
// first is being unloaded: then the load waits for it.
//
// # Failures
//
// A broken plugin does not affect the host: the error describes the reason, and the previous
// version keeps serving. All of a version's services are served, or none. Code that stops serving
// after it was loaded, such as a process that exited, makes its plugin degraded until the code
// recovers. Code of goplugin runs inside the host: a panic outside of its handlers ends the host.
//
// # Debugging
//
// [Host.List] returns the state, the counters and the last error of every plugin, and of every
// folder whose manifest could not be read. Events report each change, see [WithEvents]; the default
// is to log them.
//
// # Testing
//
// Implement [Loader] and [Instance] with Go code to test a host without building plugins; see the
// example of [Host]. An in-process bus is enough, except for processes.
package plugin
