// Package selection selects one of the servers that claim a request, and detects when every server
// of a method has answered.
//
// A [Collector] collects the claims of one call and applies the call's [Opts]. A [Membership]
// remembers which servers have answered earlier calls to the same method and topic. A selection or
// a multi call can then end when the last server has answered, instead of at a timeout. If a server
// answers after its call has ended, [LateResponses] still adds it to the Membership.
//
// # When a call is complete
//
// The in-process bus and Redis report how many receivers got a request. A receiver is a connection,
// not a server: n servers of one process that share a connection count as one receiver. Each
// dynpsrpc server therefore reports how many servers share its receiver. If there are n of them,
// its answer has the weight 1/n, a fixed-point number that is rounded up (see [WeightOf]). A call
// is complete when the weights of its answers add up to the number of receivers.
//
// psrpc servers do not report how many of them share a receiver, so each of their answers has the
// weight 1. The sum of the weights may therefore exceed the number of receivers. A membership
// records the excess of each call. The next call is complete only when its sum has at least the
// same excess.
//
// # Without a receiver count
//
// NATS only reports whether a request had no receivers at all. Servers therefore announce
// themselves (see [Membership.OnPresence]), and respond to the discovery request that a client
// sends when it first uses a request channel. When no more responses arrive, the client knows these
// servers. A call is then complete when all of them have answered. psrpc servers do not announce
// themselves, so those that answered the previous call must have answered, too.
//
// If no server announces itself, a selection is complete when every server that answered the
// previous call has answered. A multi call is then never known to be complete.
package selection
