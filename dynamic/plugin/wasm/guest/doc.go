// Package guest is for the authors of plugins: a Go program that is compiled to WebAssembly registers a handler for each
// method that it serves, and package dynamic/plugin/wasm runs it.
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
// It is built with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags="-s -w" -o greeter.wasm .
//
// Requests and responses are encoded messages. Package guestproto has handlers that take and return messages of
// protoc-gen-go; a program that only moves bytes does not link protobuf.
//
// The host runs several instances of the program, each with memory of its own, and gives each one request at a time. What a
// handler leaves in memory is there for later requests to the same instance, until the host throws that away: after a fault,
// after a request that took too long or that nobody waits for any more, and with the plugin. Goroutines that a handler
// leaves behind run only while a later request is handled.
//
// What is written to os.Stdout and os.Stderr goes to the host's log line by line, as does what [Log] and [Logger] are given.
// There are no files, no arguments, no environment and no network. Clocks and random numbers are real.
package guest
