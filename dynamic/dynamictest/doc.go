// Package dynamictest helps to test services and the programs that call them. It needs no broker.
//
// [Serve] serves a service for the duration of a test and returns a conn that can call it:
//
//	func TestHello(t *testing.T) {
//		conn := dynamictest.Serve(t, service, dynamic.Handlers{"Hello": dynamic.Unary(hello)})
//		response, err := dynamic.Invoke(t.Context(), conn, "greeting.Greeter/Hello", request)
//		...
//	}
//
// [New] does the same and also gives access to the server, the registration and the bus. Use it for
// topics, updates, further servers and further conns. [BindFake] tests the other side: it fills the
// struct of clients that a program uses (see [dynamic.Bind]) with fakes.
//
// Calls take the same path through package dynamic as in production. By default, they use the
// in-process bus. To test how a program copes with a bus that loses or delays frames, pass a
// bustest.FaultBus to [WithBus].
//
// # Time
//
// The fixtures work in a bubble of testing/synctest. Time is simulated there, so a test does not
// have to wait for timeouts.
//
// # Concurrency
//
// The functions of this package must be called on the goroutine of the test, because they end the
// test with t.Fatal if they fail. A [Fixture] uses no goroutines of its own.
package dynamictest
