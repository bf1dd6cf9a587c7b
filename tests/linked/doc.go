// Package linked tests programs that link a Go package which registers the psrpc options with protobuf,
// as generated code does.
package linked
