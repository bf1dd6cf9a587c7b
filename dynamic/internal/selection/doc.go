// Package selection chooses one server among those that claim a request, and knows when every server
// of a method has answered.
//
// A [Collector] gathers the claims of one call and applies the call's [Opts]. A [Membership] remembers
// which servers answered earlier calls of the same method and topic, so that a selection or a multi
// call can end with the last answer instead of a timeout. [LateResponses] adds servers that answer
// after their call has ended.
//
// # When a call is complete
//
// Redis and NATS report how many receivers got a published request. A receiver is a connection, not a
// server: n servers of one process that share a connection count as one receiver. Each dynpsrpc server
// therefore says in its answer how many servers share its receiver, and an answer weighs 1/n of a
// receiver, in fixed point and rounded up (see [WeightOf]). A call is complete when the weights of its
// answers add up to the number of receivers. psrpc servers do not say that they share a receiver, so
// their answers weigh a whole one; the surplus that this produced in the last complete call is added
// to what the next call waits for.
//
// Without a count of receivers, as on NATS, a selection is considered complete when every server that
// answered the last call has answered this one.
package selection
