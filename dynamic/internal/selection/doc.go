// Package selection selects one of the servers that claim a request, and detects when every server
// of a method has answered.
//
// A [Collector] collects the claims of one call and applies the call's [Opts]. A [Membership]
// remembers which servers have answered earlier calls to the same method and topic. A selection or
// a multi call can then end when the last server has answered, instead of at a timeout.
// [LateResponses] adds servers that answer after their call has ended.
//
// # When a call is complete
//
// The in-process bus and Redis report how many receivers got a published request. NATS reports only
// whether a request had no receivers at all. A receiver is a connection, not a server: n servers of
// one process that share a connection count as one receiver. Each dynpsrpc server therefore reports
// in its answer how many servers share its receiver. If n servers share a receiver, the answer of
// each has the weight 1/n. Weights are fixed-point numbers and rounded up (see [WeightOf]). A call
// is complete when the weights of its answers add up to the number of receivers.
//
// psrpc servers do not report how many servers share their receiver, so each of their answers has
// the weight 1. The sum of the weights can therefore exceed the number of receivers. A membership
// records the excess of the last complete call. The next call is complete only when the sum exceeds
// the number of receivers by at least the recorded excess.
//
// # Without a receiver count
//
// On NATS, servers announce themselves (see [Membership.OnPresence]). When a client first uses a
// request channel, it sends a discovery request, to which all dynpsrpc servers of the channel
// respond. When no more responses arrive, the client knows these servers. From then on, a call is
// complete when all of them have answered. psrpc servers do not announce themselves, so all psrpc
// servers that answered the previous call must have answered too. If no server announces itself, a
// selection is complete when every server that answered the previous call has answered this one. A
// multi call is then never known to be complete.
package selection
