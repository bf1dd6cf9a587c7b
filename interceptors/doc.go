// Package interceptors has ready-made interceptors that need no more modules than the engine does: each is one option, given
// to dynamic.NewServer, to Server.Register, or to dynamic.NewConn.
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
// The first one given is outermost: nearest the bus on a server, nearest the caller on a conn. So, on this conn, Logging
// has a line for each attempt of Retry; the other way round it would have one for all of them. On a server Logging belongs
// outside of ErrorMask if it is to have what the caller sees, and inside if it is to have the whole error.
//
// What one call of such a function returns may be given to several servers or conns, which then share its state, such as
// the budget of Retry. Sub-packages hold what needs other modules.
package interceptors
