// Package e2e is the test suite of the whole: servers and clients of every kind of method, in every representation
// of their messages, on one network. It checks what users see: results, errors, cancellation, the coming and going of
// servers, isolation of the slow from the quick, and that bad input harms nobody.
//
// It runs on the in-process bus, and a bus implementation runs it from a test of its own:
//
//	func TestEndToEnd(t *testing.T) {
//		e2e.Run(t, e2e.Network{
//			Connect: func(t testing.TB) bus.Bus { return mybus.New(...) },
//		})
//	}
//
// Tests of one process or of several may share a broker: each uses service names of its own.
package e2e
