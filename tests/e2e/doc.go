// Package e2e is the end-to-end test suite: servers and clients of every method kind, with every
// Go representation of messages, on one network. The suite checks what users observe: results,
// errors, cancellation, servers that join and leave, isolation of fast callers from slow ones, and
// robustness against malformed frames.
//
// The suite runs on the in-process bus. A bus implementation runs the suite from its own test:
//
//	func TestEndToEnd(t *testing.T) {
//		e2e.Run(t, e2e.Network{
//			Connect: func(t testing.TB) bus.Bus { return mybus.New(...) },
//		})
//	}
//
// Tests may share a broker, within a process and across processes: each test uses unique service
// names.
package e2e
