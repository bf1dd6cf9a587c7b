// Package interop tests dynpsrpc together with psrpc itself. Clients and servers of both libraries
// use the same broker. The package is a separate module, so that dynpsrpc does not depend on psrpc.
//
//	go -C tests/interop test ./...
package interop
