// Package bustest is the conformance suite for implementations of [bus.Bus]. It checks the contract
// in the documentation of package bus: delivery, queues, readiness, ordering, delivery reports,
// size limits, ownership of frames, and close.
//
// An implementation runs it from a test of its own:
//
//	func TestConformance(t *testing.T) {
//		bustest.Run(t, bustest.Network{
//			Connect: func(t testing.TB) bus.Bus { return mybus.New(broker) },
//		})
//	}
//
// Connect is called several times per test, and the buses that it returns must reach each other. If
// the network is a single object, as the in-process bus is, Connect returns the same object for the
// same t.
//
// Every test has a timeout of 20 seconds; a missing frame fails the test with "a frame did not
// arrive". The suite is most useful under the race detector and with a check for leaked goroutines.
package bustest
