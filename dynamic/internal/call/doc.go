// Package call makes the calls of a client over a bus. It is the engine below dynamic.Conn and
// dynamic.Client: it knows methods, channels and encoded messages, but no options, hooks or
// interceptors. It knows no Go types of messages, except for those of a stream, which it passes on
// to package stream.
//
// An [Engine] owns what all calls of a client share: the subscriptions on which claims and
// responses arrive, the pending calls, and what is known about the servers. [Engine.NewPlan]
// returns a [Plan], which makes the calls of one method. [Plan.NewRoute] returns a [Route], which
// holds the channels of one topic. Plans and Routes are created once and used for many calls:
//
//	plan, err := engine.NewPlan(ctx, method)
//	route := plan.NewRoute(nil)
//	response, err := plan.Call(ctx, &route, &call.Request{Body: body}, nil)
//
// [Plan.Call] makes a call that one server answers. [Plan.StartMulti] makes a call that all servers
// answer. [Plan.Candidates] only asks which servers would take a request. [Plan.OpenStream] opens a
// stream, which package stream then runs.
//
// # Concurrency
//
// An Engine, its Plans and Routes are safe for concurrent use. Each call is a state machine that
// only its calling goroutine advances. Bus callbacks never block: they put messages for a call into
// its inbox and wake the calling goroutine, which then looks at the whole inbox. Spurious wake-ups
// and the order of claims and a response therefore do not matter, and a slow caller delays no other
// call.
//
// The lock of a shard of the pending calls is held while a message is put into an inbox, which has
// a lock of its own. No lock is held while the bus publishes. [Engine.Close] ends all calls and
// waits for the goroutines that [Engine.Go] has started.
//
// # Why it is built this way
//
// A unary call needs few allocations, because the inbox, its wake-up channel and its timer are
// reused; see the types inboxPool and callTimer. An inbox recognizes reports about an earlier call
// by the ID of the request. This package and package serve do not import each other: client and
// server meet only on the bus.
package call
