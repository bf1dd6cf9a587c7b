// Package interop tests dynpsrpc together with psrpc itself. Clients and servers of both libraries
// use the same broker. The package is a separate module, so that dynpsrpc does not depend on psrpc.
// One test uses the official command line of NATS instead of psrpc, and builds it first.
//
//	make interop
//
// The tests run with two versions of psrpc: the one in go.mod, and, with the build tag
// psrpc_oldest, the one in oldest.mod. The files psrpc_latest_test.go and psrpc_oldest_test.go
// contain what differs between the versions.
package interop
