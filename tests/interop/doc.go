// Package interop tests dynpsrpc together with psrpc itself. Clients and servers of both libraries
// use the same broker. The package is a separate module, so that dynpsrpc does not depend on psrpc. One
// test runs the stock command line of NATS instead, which it builds first.
//
//	make interop
//
// The tests run with two versions of psrpc: the one in go.mod, and the one in oldest.mod with the
// build tag psrpc_oldest. The files psrpc_latest_test.go and psrpc_oldest_test.go contain what
// differs between the versions.
package interop
