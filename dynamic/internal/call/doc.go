// Package call makes the calls of a client over a bus. It is the engine below dynamic.Conn and
// dynamic.Client: it knows methods, channels and encoded messages, but no options, hooks or
// interceptors. It passes the types of the messages of a stream on to package stream, and needs no
// others.
//
// An [Engine] owns what all calls of a client share: the subscriptions on which claims and
// responses arrive, the pending calls, and what is known about the servers. [Engine.NewPlan]
// returns a [Plan], which makes the calls of one method, and [Plan.NewRoute] a [Route], which holds
// the channels of one topic. Both are created once and used for many calls:
//
//	plan, err := engine.NewPlan(ctx, method)
//	route := plan.NewRoute(nil)
//	response, err := plan.Call(ctx, &route, &call.Request{Body: body}, nil)
//
// [Plan.Call] makes a call that one server answers, [Plan.StartMulti] one that all servers answer.
// [Plan.Candidates] only asks which servers would take a request. [Plan.OpenStream] opens a
// stream, which package stream then runs.
//
// # Concurrency
//
// An Engine, its Plans and Routes are safe for concurrent use. Each call is a state machine that
// only its calling goroutine advances. Bus callbacks never block: they put what has arrived for a
// call into its inbox and wake the calling goroutine, which then looks at all that has arrived. A
// wake-up may be spurious. The order in which claims and a response arrive therefore does not
// matter to the engine, and a slow caller delays no other call.
//
// The lock of a shard of the pending calls is held while a message is put into an inbox, which has
// a lock of its own. No lock is held while the bus publishes. [Engine.Close] ends all calls and
// waits for the goroutines that [Engine.Go] has started.
//
// # Why it is built this way
//
// A unary call needs few allocations, because the inbox, its wake-up channel and its timer are
// reused; see the types inboxPool and callTimer. An inbox recognizes reports about an earlier call
// by the ID of the request. The engine does not import the server's half, and the server does not
// import the engine: they meet on the bus only.
package call
