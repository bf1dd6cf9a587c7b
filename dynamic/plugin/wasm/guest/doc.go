// Package guest is the library for writing plugins for package dynamic/plugin/wasm in Go. A plugin
// is a Go program that registers a handler for each of its methods and is compiled to WebAssembly:
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
// Build the plugin with:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags="-s -w" -o greeter.wasm .
//
// The host never calls main. Requests and responses are encoded messages. With package guestproto,
// handlers receive and return generated messages instead. A plugin that works with raw bytes needs
// neither guestproto nor protobuf.
//
// # Instances
//
// The host runs several instances of the program. Each instance has its own memory and handles one
// request at a time. Variables keep their values between requests to the same instance. The host
// discards an instance if it traps or exits, or if a request times out or is canceled. It discards
// all instances when the plugin is unloaded. Goroutines that a handler starts run only while the
// instance is handling a request.
//
// # Debugging
//
// The host logs everything that the program writes with [Log] and [Logger], and each line written
// to os.Stdout or os.Stderr. The output of one request is limited to 64 KiB.
//
// # Sandbox
//
// The program has no access to files, arguments, environment variables or the network. Clocks and
// random numbers work as usual.
package guest
