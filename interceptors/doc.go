// Package interceptors provides ready-made interceptors without extra dependencies. Each
// constructor returns one option for dynamic.NewServer, Server.Register or dynamic.NewConn.
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
// The first option is the outermost interceptor: nearest to the bus on a server, nearest to the
// caller on a conn. On the conn above, Logging writes one line for each attempt of Retry; in the
// opposite order it writes one line for all attempts together. On a server, put Logging outside
// ErrorMask to log what the caller sees, or inside to log the complete error.
//
// # Shared state
//
// An option may be given to several servers or conns, which then share its state, such as the retry
// budget of [Retry]. All interceptors are safe for concurrent use.
//
// # Behaviour under load
//
// [Retry] limits the extra load of retries with a budget that all its calls share, see
// [WithRetryBudget]. The packages limits and breaker reject calls early when a server or its
// dependencies are overloaded.
package interceptors
