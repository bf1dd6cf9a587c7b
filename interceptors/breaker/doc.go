// Package breaker provides a circuit breaker for conns. While calls to a method keep failing, the
// breaker rejects further calls immediately instead of letting them fail one by one.
//
//	conn, err := dynamic.NewConn(b, reg, breaker.New())
//
// The package uses the circuit breaker of github.com/sony/gobreaker.
//
// # Ordering
//
// Options passed before the breaker are outside it. If interceptors.Retry is outside the breaker,
// each attempt counts as a call; if Retry is inside, all attempts together count as one call.
package breaker
