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
// stack, which the host lets grow to 100 MB or so. Instances are made when they are needed, up to the limit, and are kept.
//
// A request for which no instance is free in its time is answered with [errors.ResourceExhausted]; so is one in which the code
// was refused more memory, if it does not survive that. One that takes too long is answered with [errors.DeadlineExceeded], one
// in which the code traps, exits or returns nonsense with [errors.Internal]. After these the instance is replaced by a new
// one, and neither the other instances nor the host notice. Errors of these kinds are logged with their reasons, of which the
// caller learns nothing.
//
// # Costs
//
// A call takes 1 µs more than a handler in the host does, and 2 µs if the code is Go; with messages instead of bytes, 10 µs.
// What Go code computes takes ten times as long as in the host, and more where the host has assembly. To start an instance of
// Go code takes 5 ms and 3 MB of memory, to compile it a second. The smallest plugin in Go has 2.8 MB, one that links protobuf
// 6.5 MB.
package wasm
