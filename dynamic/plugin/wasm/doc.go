// Package wasm runs plugins that are WebAssembly, in a sandbox: [Loader] is a [plugin.Loader] for them.
//
//	loader, err := wasm.NewLoader()
//
// Plugins in Go are written with package guest below this one. ABI.md has what a module in another language must export.
//
// # What code gets
//
// A clock, random numbers, and a log that is bounded for each request. No files, arguments, environment or network. [WithModule]
// gives it more.
//
// # Limits
//
// The limits of a manifest are kept, see [plugin.Limits]. Timeout is the longest that one request may take, with the time in
// which it waits for an instance; a request that has less time itself ends earlier. Memory is that of an instance, without its
// stack, which the host lets grow to 100 MB or so, Instances are made
// when they are needed, up to the limit, and are kept.
//
// A request for which no instance is free in its time is answered with [errors.ResourceExhausted]; so is one in which the code
// was refused more memory, if it does not survive that. One that takes too long is answered with [errors.DeadlineExceeded], one
// in which the code traps, exits or returns nonsense with [errors.Internal]. After all of these the instance is replaced by a
// new one, and neither the other instances nor the host notice.
package wasm
