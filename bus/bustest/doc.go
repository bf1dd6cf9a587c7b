// Package bustest provides conformance tests for implementations of [bus.Bus], and a bus that
// causes faults. The conformance tests check the contract described in package bus: delivery,
// queues, readiness, ordering, delivery reports, size limits, ownership of frames, and closing.
//
// Call [Run] from a test of the implementation:
//
//	func TestConformance(t *testing.T) {
//		bustest.Run(t, bustest.Network{
//			Connect: func(t testing.TB) bus.Bus { return mybus.New(broker) },
//		})
//	}
//
// Each test calls Connect several times, and the buses that it returns must be able to reach each
// other. If the network is a single object, like the in-process bus, Connect must return the same
// object whenever it is called with the same t.
//
// Every test of [Run] has a timeout of one minute. If a frame is missing, the test fails with "a
// frame did not arrive". Run the tests with the race detector and with a check for leaked
// goroutines to find the most bugs.
//
// # Faults
//
// A [FaultBus] is for tests of other packages. It loses, duplicates, reorders and delays frames on
// their way to another bus, and it can cut the link to that bus.
package bustest
