// Package linked tests programs that link a Go package which registers the psrpc options in the
// global protobuf registry, as generated code does.
package linked
