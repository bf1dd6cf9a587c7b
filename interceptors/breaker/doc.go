// Package breaker provides a circuit breaker for conns: it rejects calls to methods that keep
// failing, instead of waiting for another failure.
//
//	conn, err := dynamic.NewConn(b, reg, breaker.New())
//
// The state machine is github.com/sony/gobreaker.
//
// # Ordering
//
// Options given before the breaker are outside of it. With interceptors.Retry outside, each attempt
// counts as a call; with Retry inside, all attempts together count as one.
package breaker
