// Package guest is for writing plugins in Go that package dynamic/plugin/wasm runs. A plugin is a
// Go program that registers a handler for each of its methods and is compiled to WebAssembly:
//
//	package main
//
//	import (
//		"context"
//
//		"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest"
//	)
//
//	func init() { guest.Handle("greeting.Greeter/Hello", hello) }
//
//	func hello(ctx context.Context, request []byte) ([]byte, error) { ... }
//
//	func main() {}
//
// Build it with:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags="-s -w" -o greeter.wasm .
//
// The host never runs main. Requests and responses are encoded messages. Package guestproto has
// handlers for generated messages; a plugin that only moves bytes can use this package alone and
// does not link protobuf.
//
// # Instances
//
// The host runs several instances of the program, each with its own memory, and each instance
// handles one request at a time. Variables keep their values for later requests to the same
// instance until the host discards the instance: after a fault, after a request that timed out or
// was canceled, or when the plugin is unloaded. Goroutines that a handler starts run only while the
// instance handles a request.
//
// # Debugging
//
// The host logs what the program writes with [Log] and [Logger], and each line that it writes to
// os.Stdout and os.Stderr. It limits the output of one request to 64 KiB.
//
// # Sandbox
//
// The program has no files, arguments, environment or network. Clocks and random numbers work as
// usual.
package guest
