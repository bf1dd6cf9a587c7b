// Package wasm runs plugins that are compiled to WebAssembly. Each plugin runs in a sandbox.
// [Loader] implements [plugin.Loader]:
//
//	loader, err := wasm.NewLoader()
//	if err != nil { ... }
//	host, err := plugin.NewHost(server, plugin.WithLoaders(loader))
//
// Close the loader after the host has shut down. To write a plugin in Go, use package guest, which
// is in a subdirectory of this package. For other languages, ABI.md specifies what a module must
// export and what it can import.
//
// # Sandbox
//
// A module has access to a clock, random numbers and a log, but not to files, arguments,
// environment variables or the network. Use [WithModule] to provide additional host functions. Log
// output is limited to 64 KiB per request.
//
// # Instances and ordering
//
// The loader compiles each version of a plugin once and runs it in several instances, each with its
// own memory. An instance handles one request at a time. For each request, the loader chooses the
// idle instance that was used most recently. Requests therefore run concurrently and in no
// particular order. Consecutive requests from one client may be handled by different instances. If
// all instances are busy, a new one is started, up to the limit. An instance is kept until it
// fails, until its request is canceled or times out, or until the plugin is unloaded.
//
// # Behavior under load
//
// The limits in the manifest apply; see [plugin.Limits]:
//
//   - Timeout is the maximum duration of a request, including the time spent waiting for an
//     instance. If the request has an earlier deadline, that deadline applies.
//   - Memory is the maximum size of an instance's linear memory. The call stack is not included and
//     can grow to about 100 MB in the host.
//   - Instances is the maximum number of instances.
//
// If the plugin fails to handle a request, the caller receives an error with one of these codes:
//
//   - [errors.ResourceExhausted]: no instance became free before the deadline, or the module
//     exceeded its memory limit and then failed.
//   - [errors.DeadlineExceeded]: the request exceeded its timeout or its deadline.
//   - [errors.Internal]: the module trapped, exited or returned an invalid result.
//
// An instance that fails while it handles a request is discarded and replaced. The other instances
// and the host are not affected. If a handler returns an error, its instance is kept.
//
// # Debugging
//
// When an instance is discarded, the loader logs the reason, together with the plugin, its version
// and the method. The caller receives only a code and a generic text, because the reason may
// contain data from the module. Plugins log to the same logger; see [WithLogger].
//
// # Performance
//
// A call takes 1 µs longer than a call to a native handler, or 2 µs longer if the module is written
// in Go. If the handlers use messages instead of bytes, a call takes another 10 µs, because the
// module decodes the request and encodes the response. Go code runs about ten times slower in the
// sandbox than in the host. Code that Go implements in assembly in the host, such as hash
// functions, is even slower. An instance of a Go plugin takes 5 ms to start and uses 3 MB of
// memory. Compiling a Go plugin takes about a second; use [WithCacheDir] to keep the compiled code
// for the next process. The smallest Go plugin is 2.8 MB in size, or 6.5 MB if it links protobuf.
//
// # Testing
//
// Handlers written with package guest are plain functions, which a test can call without a host. To
// test a whole module, load its folder with a [plugin.Host] on an in-process bus, as shown in the
// example for [NewLoader].
package wasm
