// Package interop tests dynpsrpc beside the real psrpc: clients and servers of both take part in
// the same calls. It is a module of its own, because it needs psrpc's module.
//
//	go -C tests/interop test ./...
package interop
