package call

import (
	"context"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"
	"github.com/dynpsrpc/dynpsrpc/internal/quiettime"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// maxResponses is the maximum number of responses that a multi call buffers while its caller is not
// reading. Further responses are discarded and counted as unmatched.
const maxResponses = 10_000

// maxResponseBytes is the maximum total size, in bytes, of the responses that a multi call buffers.
// If no other response is buffered, a response of any size is accepted.
const maxResponseBytes = 256 << 20

// Multi is one multi call, which every server answers. Bus callbacks append responses to the field
// queue and never block. The calling goroutine takes them out with the method Next. Except for
// Interrupt, the methods must not be called concurrently.
//
// The call ends in the following cases:
//   - All servers that the route's membership knows, or the expected number, have answered.
//   - No further response has arrived within [Request.QuietTime].
//   - The call's timeout has passed, or the caller's context or the engine has ended.
//   - The bus has reported that the request is lost or has no receivers.
type Multi struct {
	plan  *Plan
	route *Route
	id    id.Call
	// expected is the number of responses after which the call ends, or zero if there is no such
	// number.
	expected int
	wakeup   queue.Wakeup

	started time.Time
	// published is the time at which the request was published. Before that, it is zero.
	published time.Time
	timer     *time.Timer
	// quietTime is Request.QuietTime. quietTimer fires if no further response arrives in that time.
	// quietTimer is nil until the first response has arrived.
	quietTime  quiettime.Func
	quietTimer *time.Timer
	// done reports whether the call has ended. The method Next then returns no more responses. Only
	// the calling goroutine accesses it.
	done bool

	mu sync.Mutex
	// queue holds the buffered responses, and taken is the number of responses at its start that
	// the calling goroutine has already taken. When all have been taken, the slice is reused.
	queue []queuedResponse
	taken int
	// queueBytes is the total size of the messages in queue.
	queueBytes int
	// recorded is the number of responders at the last update of the membership.
	recorded int
	// responders holds the servers that have answered. Further responses from them are discarded.
	responders selection.Responders
	// receivers is the number of receivers that the bus reported for the request. It is bus.Unknown
	// until the bus reports a number.
	receivers int
	// publishErr is the error of the bus if it has lost the request. Otherwise, it is nil.
	publishErr error
	// interrupted reports whether Interrupt has been called and has not made Next return yet.
	interrupted bool
}

// queuedResponse is the response of one server in the queue of a Multi. It is much smaller than
// a [wire.Response]. This matters because a call may buffer thousands of responses.
type queuedResponse struct {
	serverID string
	// raw is the encoded response message.
	raw []byte
	// failure is the response if the server has returned an error. Otherwise, it is nil.
	failure *wire.Response
}

// StartMulti publishes a request to all servers. If it succeeds, the caller must call Stop on the
// returned call when it no longer needs the call.
func (p *Plan) StartMulti(ctx context.Context, r *Route, request *Request) (*Multi, error) {
	engine := p.engine
	c := &Multi{
		plan: p, route: r, id: engine.ids.newRequest(), expected: request.Expected, wakeup: queue.NewWakeup(),
		started: time.Now(), receivers: bus.Unknown, quietTime: request.QuietTime,
	}
	if err := ctx.Err(); err != nil {
		return nil, c.withFacts(errors.FromContext(err), transport.ContextReason(err))
	}
	if engine.Err() != nil {
		return nil, c.withFacts(engine.closeError())
	}
	// If the call has a timeout of its own, the request expires after that timeout, as in psrpc,
	// even if the deadline of ctx is earlier. When ctx ends, Multi.Next therefore publishes a
	// cancellation.
	timeout, _ := engine.Bounds(ctx, c.started, request.Timeout)
	outgoing := wire.Request{
		RequestID: c.id[:], ClientID: engine.wireID,
		SentAt: c.started.UnixNano(), Expiry: c.started.Add(timeout).UnixNano(),
		Multi: true, Metadata: request.Metadata, Body: request.Body,
	}
	frame, err := outgoing.AppendFrame(nil)
	if err != nil {
		return nil, errors.NewErrorf(errors.MalformedRequest, "request of %s cannot be encoded: %w", p.method.FullName(), err)
	}
	c.responders.Grow(r.membership.Count())
	p.watch(r, c.wakeup, &c.responders)
	engine.pending.add(c.id, c)
	if err := engine.bus.Publish(ctx, r.Requests, frame, c); err != nil {
		engine.pending.remove(c.id)
		p.unwatch(r, c.wakeup)
		return nil, c.withFacts(transport.ClassifyError(err))
	}
	c.published = time.Now()
	if c.quietTime == nil {
		// A discovery request reaches all servers of the service, so answers arrive sooner if the
		// request of the call is sent first.
		p.discover(r)
	}
	c.timer = engine.timers.Start(timeout)
	return c, nil
}

// NewEndedMulti returns a call that has no request and no responses. The caller must call Stop when
// it no longer needs the call.
func (p *Plan) NewEndedMulti(r *Route) *Multi {
	return &Multi{plan: p, route: r, id: id.NewRequest(), done: true, timer: p.engine.timers.Start(p.engine.config.DefaultTimeout)}
}

// Stop ends the call and releases its resources on the engine. After Stop has returned, no response
// is added to c.queue. A server that answers later is still added to the route's membership; see
// [selection.LateResponses].
func (c *Multi) Stop() {
	engine := c.plan.engine
	engine.lateResponses.Add(c.id, c.route.membership)
	engine.pending.remove(c.id)
	c.plan.unwatch(c.route, c.wakeup)
	engine.timers.Stop(c.timer)
	if c.quietTimer != nil {
		engine.timers.Stop(c.quietTimer)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.responders.Count() > c.recorded {
		// Some servers have answered since the membership was last updated.
		c.route.membership.AddAll(&c.responders)
	}
}

// Interrupt makes the running or the next call to Next return early, without a response. It may be
// called from any goroutine.
func (c *Multi) Interrupt() {
	c.mu.Lock()
	c.interrupted = true
	c.mu.Unlock()
	c.wakeup.Send()
}

// Ended reports whether the call has ended. Next then returns no more responses.
func (c *Multi) Ended() bool { return c.done }

// Next waits for the next response and returns it. It returns false if there are no more responses,
// or if Interrupt has been called; see Ended. If the whole call has failed, the last response
// contains the error and no server ID.
func (c *Multi) Next(ctx context.Context) (response Response, ok bool) {
	quiet := c.startQuietTime()
	for !c.done {
		var interrupted bool
		response, ok, interrupted = c.pop()
		if ok || c.done || interrupted {
			return response, ok
		}
		select {
		case <-c.wakeup:
		case <-c.timer.C:
			c.done = true
			// Servers that have not answered by now are removed from the membership here.
			c.updateMembership()
		case <-quiet:
			c.done = true
		case <-ctx.Done():
			c.done = true
			// The cancellation is needed because the servers may not know the deadline of ctx.
			c.plan.cancel(c.id)
		case <-c.plan.engine.Done():
			c.done = true
			c.plan.cancel(c.id)
			return Response{Err: c.withFacts(c.plan.engine.closeError())}, true
		}
	}
	return Response{}, false
}

// startQuietTime starts the wait for a further response. It returns a channel that receives a value
// if none arrives in time. The channel is nil if the call has no quiet time or has not received a
// response yet.
func (c *Multi) startQuietTime() <-chan time.Time {
	if c.quietTime == nil {
		return nil
	}
	c.mu.Lock()
	responses := c.responders.Count()
	c.mu.Unlock()
	if responses == 0 {
		return nil
	}
	if wait := c.quietTime(responses); c.quietTimer == nil {
		c.quietTimer = c.plan.engine.timers.Start(wait)
	} else {
		c.quietTimer.Reset(wait)
	}
	return c.quietTimer.C
}

// Deliver sends a value to the caller. It returns false if the call ends first. If ctx ends the
// call, Deliver also publishes a cancellation.
func Deliver[T any](ctx context.Context, c *Multi, to chan<- T, value T) bool {
	// If the channel has room, the value is sent even if the call has ended.
	select {
	case to <- value:
		return true
	default:
	}
	select {
	case to <- value:
		return true
	case <-c.timer.C:
	case <-ctx.Done():
		c.plan.cancel(c.id)
	case <-c.plan.engine.Done():
	}
	return false
}

// Response is the response from one server to a multi call.
type Response struct {
	ServerID string
	// Raw is the encoded response message. The caller must not modify it.
	Raw []byte
	// Err is the error that the server has returned, or the error of the whole call.
	Err error
}

// pop removes and returns the oldest buffered response. If there is none, pop sets c.done if the
// call is complete. It also does so if the call has failed, and then returns the error as the last
// response. If there is nothing to return, interrupted reports whether Interrupt has been called.
func (c *Multi) pop() (response Response, ok, interrupted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.taken < len(c.queue):
		next := c.queue[c.taken]
		// The queue drops its reference to the response, so that the message can be garbage
		// collected.
		c.queue[c.taken] = queuedResponse{}
		if c.taken++; c.taken == len(c.queue) {
			c.queue, c.taken = c.queue[:0], 0
		}
		c.queueBytes -= len(next.raw)
		response = Response{ServerID: next.serverID, Raw: next.raw}
		if next.failure != nil {
			response.Err = c.plan.serverError(next.failure, c.route)
		}
		return response, true, false
	case c.publishErr != nil:
		c.done = true
		return Response{Err: c.withFacts(transport.ClassifyError(c.publishErr))}, true, false
	case c.receivers == 0 && c.responders.Count() == 0:
		c.done = true
		return Response{Err: c.withFacts(errors.ErrNoResponse, errors.ReasonNobodyListening)}, true, false
	case c.expected > 0 && c.responders.Count() >= c.expected:
		c.done = true
	case c.route.membership.IsComplete(c.receivers, &c.responders):
		c.done = true
		c.updateMembershipLocked()
	}
	interrupted, c.interrupted = c.interrupted, false
	return Response{}, false, interrupted
}

// updateMembership makes the servers that have answered so far the members of the route.
func (c *Multi) updateMembership() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.updateMembershipLocked()
}

func (c *Multi) updateMembershipLocked() {
	c.route.membership.Update(c.receivers, &c.responders)
	c.recorded = c.responders.Count()
}

// onResponse implements pendingCall. It accepts only the first response from each server, and
// discards responses for which the buffer has no room.
func (c *Multi) onResponse(response wire.Response) bool {
	c.mu.Lock()
	server := string(response.ServerID)
	size := len(response.Body.Raw)
	queued := len(c.queue) - c.taken
	hasRoom := queued == 0 || queued < maxResponses && c.queueBytes+size <= maxResponseBytes
	useful := hasRoom && !c.responders.Has(server)
	if useful {
		c.queueBytes += size
		c.responders.Add(server, selection.WeightOf(response.Subscribers))
		answer := queuedResponse{serverID: server, raw: response.Body.Raw}
		if response.Error != "" {
			failure := response
			answer.failure = &failure
		}
		c.queue = append(c.queue, answer)
	}
	c.mu.Unlock()
	c.wakeup.Send()
	return useful
}

// onClaim implements pendingCall. It rejects the claim, because a multi call does not select a
// server.
func (c *Multi) onClaim(wire.ClaimRequest) bool { return false }

// onClosed implements pendingCall. It does nothing, because the method Next also waits for the
// end of the engine's context.
func (c *Multi) onClosed() {}

// Delivered implements bus.DeliveryReport. It records the number of receivers, or the error if the
// bus lost the request.
func (c *Multi) Delivered(receivers int, err error) {
	c.mu.Lock()
	c.receivers, c.publishErr = receivers, err
	c.mu.Unlock()
	c.wakeup.Send()
}

// withFacts returns an error that wraps err and contains diagnostic facts about the call, including
// the reason why the call failed.
func (c *Multi) withFacts(err error, reason errors.Reason) error {
	now := time.Now()
	facts := errors.CallFacts{Method: c.plan.method.FullName(), Topic: c.route.Topic, Reason: reason}
	if c.published.IsZero() {
		facts.Phase, facts.PublishTime = errors.PhasePublish, now.Sub(c.started)
	} else {
		facts.Phase, facts.PublishTime = errors.PhaseResponse, c.published.Sub(c.started)
		facts.ResponseTime = now.Sub(c.published)
	}
	return errors.WithFacts(err, facts)
}
