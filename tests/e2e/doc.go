// Package e2e is the end-to-end test suite. It runs servers and clients of every method kind on one
// network, with every Go representation of messages. The suite checks what users can observe:
// results, errors, cancellation, and servers that start and stop. It also checks that slow callers
// do not delay fast ones, and that malformed frames do no harm.
//
// The suite runs on the in-process bus. To run it on another bus implementation, call [Run] in a
// test of that implementation:
//
//	func TestEndToEnd(t *testing.T) {
//		e2e.Run(t, e2e.Network{
//			Connect: func(t testing.TB) bus.Bus { return mybus.New(...) },
//		})
//	}
//
// Tests in the same process and in different processes may share a broker, because each test uses
// unique service names.
package e2e
