// Package interceptors provides ready-made interceptors that need no additional dependencies. Each
// constructor returns an option for dynamic.NewServer, Server.Register or dynamic.NewConn.
//
//	server := dynamic.NewServer(b,
//		interceptors.Logging(logger),
//		interceptors.Recovery(logger, report),
//		interceptors.ErrorMask(logger),
//		interceptors.Auth(verify),
//	)
//	conn, err := dynamic.NewConn(b, reg,
//		interceptors.Retry(),
//		interceptors.Logging(logger),
//		interceptors.AuthToken(token),
//	)
//
// The subpackages breaker, limits, metrics, tracing and validation depend on other modules.
//
// # Ordering
//
// The first option is the outermost interceptor, which is nearest to the bus on a server and
// nearest to the caller on a conn. On the conn above, Logging is inside Retry and writes one line
// for each attempt; in the opposite order, it would write one line for all attempts together. On a
// server, put Logging outside ErrorMask to log the error that the caller sees, or inside ErrorMask
// to log the original error.
//
// # Shared state
//
// The same option may be passed to several servers or conns, which then share its state, such as
// the retry budget of [Retry]. All interceptors are safe for concurrent use.
//
// # Behavior under load
//
// [Retry] has a budget, shared by all its calls, that limits the additional load caused by retries
// (see [WithRetryBudget]). The packages limits and breaker reject calls early when a server or its
// dependencies are overloaded.
package interceptors
