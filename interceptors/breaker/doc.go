// Package breaker has a circuit breaker for conns: it does not make calls that are likely to fail.
//
//	conn, err := dynamic.NewConn(b, reg, breaker.New())
//
// The state machine is that of github.com/sony/gobreaker.
package breaker
