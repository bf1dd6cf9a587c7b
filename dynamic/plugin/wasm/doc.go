// Package wasm runs plugins that are compiled to WebAssembly in a sandbox. [Loader] is the
// [plugin.Loader] for them:
//
//	loader, err := wasm.NewLoader()
//	if err != nil { ... }
//	host, err := plugin.NewHost(server, plugin.WithLoaders(loader))
//
// Close the loader after the host has shut down. Plugins in Go are written with package guest,
// below this package. For other languages, ABI.md specifies what a module exports and imports.
//
// # Sandbox
//
// A module gets a clock, random numbers and a log, and no files, arguments, environment or network.
// [WithModule] adds host functions. The log is limited to 64 KiB per request.
//
// # Instances and ordering
//
// The loader compiles each version of a plugin once and runs it in several instances, each with its
// own memory. An instance handles one request at a time, and the instance that was used last is
// used next. Requests therefore run concurrently, in no particular order, and consecutive requests
// of one client may reach different instances. A new instance starts when no idle one is left, up
// to the limit, and is kept until it fails or the plugin is unloaded.
//
// # Behavior under load
//
// The limits of the manifest apply, see [plugin.Limits]:
//
//   - Timeout is the maximum duration of a request, including the time it waits for an instance. An
//     earlier deadline of the request itself ends it earlier.
//   - Memory is the maximum linear memory of one instance. It does not include the call stack, which
//     can grow to about 100 MB in the host.
//   - Instances is the maximum number of instances.
//
// A request that fails in the plugin has one of these codes:
//
//   - [errors.ResourceExhausted]: no instance became free before the deadline, or the module was
//     refused memory and did not survive that.
//   - [errors.DeadlineExceeded]: the request exceeded its time limit or its deadline.
//   - [errors.Internal]: the module trapped, exited or returned an invalid result.
//
// A running instance that causes such an error is discarded and replaced. Neither the other
// instances nor the host are affected. An error that a handler returns does not discard the
// instance.
//
// # Debugging
//
// The loader logs why an instance was discarded, with the plugin, its version and the method. The
// caller gets the code and a general text only, because the reason may contain data of the module.
// Plugins log through the same logger, see [WithLogger].
//
// # Performance
//
// A call takes 1 µs more than a native handler, or 2 µs if the module is written in Go. With
// messages instead of bytes it takes 10 µs more, because the guest decodes and encodes them. Go
// code computes about ten times slower in the sandbox than in the host, and slower still where the
// host has assembly. For Go code, an instance takes 5 ms to start and 3 MB of memory, and compiling
// takes about a second; [WithCacheDir] keeps the result for the next process. The smallest plugin
// in Go is 2.8 MB, one that links protobuf 6.5 MB.
//
// # Testing
//
// Handlers of package guest are plain functions, which a test can call without a host. To test a
// whole module, load its folder with a [plugin.Host] on an in-process bus, as the example of
// [NewLoader] does.
package wasm
