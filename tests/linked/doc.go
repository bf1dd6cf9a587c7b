// Package linked tests programs that link a Go package which, like generated code, registers the
// psrpc options in the global protobuf registry.
package linked
