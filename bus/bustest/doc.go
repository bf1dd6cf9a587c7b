// Package bustest is the test suite that every [bus.Bus] must pass. It checks the promises of package bus:
// delivery, readiness, order, queues, reports, ownership and close.
//
// A bus implementation, ours or anyone's, runs it from a test of its own:
//
//	func TestConformance(t *testing.T) {
//		bustest.Run(t, bustest.Network{
//			Connect: func(t testing.TB) bus.Bus { return mybus.New(broker) },
//		})
//	}
//
// Where only one object is a network, as the in-process bus is, Connect returns the same one to the same t.
package bustest
