package dynamic

import (
	"context"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// maxResponses is the maximum number of responses that a multi call buffers while its caller is not
// reading. Further responses are discarded and counted in the field Unmatched of [ConnStats].
const maxResponses = 10_000

// maxResponseBytes is the maximum total size, in bytes, of the responses that a multi call buffers.
// If no other response is buffered, a response of any size is accepted.
const maxResponseBytes = 256 << 20

// multiCall is the state of one multi call, which every server answers. Bus callbacks append
// responses to the field queue and never block. The calling goroutine takes them out with the
// method next.
//
// The call ends when all servers have answered, as far as the route's membership can tell (see
// package selection), or as many as the field expected says. It ends earlier at its timeout, at the
// end of the caller's context or of the conn, or if the bus reports that the request is lost or has
// no receivers.
type multiCall struct {
	plan  *clientPlan
	route *route
	id    id.Call
	// request is the request as the caller has passed it.
	request proto.Message
	// expected is the number of responses after which the call ends. It is zero if there is no such
	// number.
	expected int
	wakeup   queue.Wakeup
	// chain passes requests and responses through the interceptors. It is nil if there are none.
	chain *multiChain

	started time.Time
	// published is the time at which the request was published. Before that, it is zero.
	published time.Time
	timer     *time.Timer
	// done reports whether the call has ended. The method next then returns no more responses. Only
	// the calling goroutine accesses it.
	done bool

	mu sync.Mutex
	// queue holds the buffered responses. The calling goroutine has already taken those before the
	// index taken. When it has taken all of them, the slice is used again from its beginning.
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
	// publishErr is the error with which the bus reported that it has lost the request. Without
	// such a report, it is nil.
	publishErr error
}

// queuedResponse is the response of one server in the queue of a multiCall. It is used because it
// is much smaller than a [wire.Response], and a call may buffer hundreds of responses.
type queuedResponse struct {
	serverID string
	// raw is the encoded response message.
	raw []byte
	// failure is the response if the server has returned an error. Otherwise, it is nil.
	failure *wire.Response
}

// startMulti publishes a request to all servers. If it succeeds, the caller must call the method
// stop of the returned call when the call is no longer needed.
func (p *clientPlan) startMulti(ctx context.Context, r *route, request proto.Message, o *requestOptions) (*multiCall, error) {
	c := &multiCall{
		plan: p, route: r, id: p.conn.newRequestID(), request: request, expected: o.expected, wakeup: queue.NewWakeup(),
		started: time.Now(), receivers: bus.Unknown,
	}
	if err := ctx.Err(); err != nil {
		return nil, c.withFacts(errors.FromContext(err), transport.ContextReason(err))
	}
	if p.conn.err() != nil {
		return nil, c.withFacts(p.conn.closeError())
	}
	// If the call's options contain a timeout, the request expires after that timeout, as in psrpc,
	// even if the deadline of ctx is earlier. When ctx ends, multiCall.next therefore publishes a
	// cancellation.
	timeout, _ := p.conn.bounds(ctx, c.started, o)
	outgoing := wire.Request{
		RequestID: c.id[:], ClientID: p.conn.wireID,
		SentAt: c.started.UnixNano(), Expiry: c.started.Add(timeout).UnixNano(),
		Multi: true, Metadata: o.outgoingMetadata(ctx), Body: p.requests.Body(request),
	}
	frame, err := outgoing.AppendFrame(nil)
	if err != nil {
		return nil, errors.NewErrorf(errors.MalformedRequest, "request of %s cannot be encoded: %w", p.method.FullName(), err)
	}
	c.responders.Grow(r.membership.Count())
	p.watch(r, c.wakeup, &c.responders)
	p.conn.pending.add(c.id, c)
	if err := p.conn.bus.Publish(ctx, r.requests, frame, c); err != nil {
		p.conn.pending.remove(c.id)
		p.unwatch(r, c.wakeup)
		return nil, c.withFacts(transport.ClassifyError(err))
	}
	c.published = time.Now()
	// A discovery request reaches all servers of the service, so answers arrive sooner if the
	// request of the call is sent first.
	p.discover(r)
	c.timer = p.conn.timers.Start(timeout)
	return c, nil
}

// stop ends the call and releases its resources on the conn. After stop has returned, no response
// is added to c.queue. A server that answers later is still added to the route's membership; see
// [selection.LateResponses].
func (c *multiCall) stop() {
	if c.chain != nil {
		c.chain.close()
	}
	c.plan.conn.lateResponses.Add(c.id, c.route.membership)
	c.plan.conn.pending.remove(c.id)
	c.plan.unwatch(c.route, c.wakeup)
	c.plan.conn.timers.Stop(c.timer)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.responders.Count() > c.recorded {
		// Some servers have answered since the membership was last updated.
		c.route.membership.AddAll(&c.responders)
	}
}

// next waits for the next response and returns it. It returns false if there are no more responses.
// If the call as a whole has failed, the last response contains the error and no server ID.
func (c *multiCall) next(ctx context.Context) (response serverResponse, ok bool) {
	for !c.done {
		response, ok, c.done = c.pop()
		if ok || c.done || c.chain.hasReady() {
			return response, ok
		}
		select {
		case <-c.wakeup:
		case <-c.timer.C:
			c.done = true
			// Servers that have not answered by now are removed from the membership here.
			c.updateMembership()
		case <-ctx.Done():
			c.done = true
			// The cancellation is needed because the servers may not know the deadline of ctx.
			c.plan.cancel(c.id)
		case <-c.plan.conn.ctx.Done():
			c.done = true
			c.plan.cancel(c.id)
			return serverResponse{err: c.withFacts(c.plan.conn.closeError())}, true
		}
	}
	return serverResponse{}, false
}

// serverResponse is the response from one server to a multi call.
type serverResponse struct {
	serverID string
	// raw is the encoded response message.
	raw []byte
	// message is the message decoded from raw.
	message proto.Message
	err     error
}

// pop removes and returns the oldest buffered response. If there is none, done reports whether the
// call has ended because all servers, or the expected number of servers, have answered. If the call
// has failed, pop returns a last response that contains the error, and done is true.
func (c *multiCall) pop() (response serverResponse, ok, done bool) {
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
		response = serverResponse{serverID: next.serverID, raw: next.raw}
		if next.failure != nil {
			response.err = c.plan.serverError(next.failure, c.route)
		}
		return response, true, false
	case c.publishErr != nil:
		return serverResponse{err: c.withFacts(transport.ClassifyError(c.publishErr))}, true, true
	case c.receivers == 0 && c.responders.Count() == 0:
		return serverResponse{err: c.withFacts(errors.ErrNoResponse, errors.ReasonNobodyListening)}, true, true
	case c.expected > 0 && c.responders.Count() >= c.expected:
		return serverResponse{}, false, true
	case c.route.membership.IsComplete(c.receivers, &c.responders):
		c.updateMembershipLocked()
		return serverResponse{}, false, true
	}
	return serverResponse{}, false, false
}

// updateMembership records the servers that have answered so far as the current members of the
// route.
func (c *multiCall) updateMembership() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.updateMembershipLocked()
}

func (c *multiCall) updateMembershipLocked() {
	c.route.membership.Update(c.receivers, &c.responders)
	c.recorded = c.responders.Count()
}

// onResponse implements pendingCall. It accepts only the first response from each server, and
// discards responses for which the buffer has no room.
func (c *multiCall) onResponse(response wire.Response) bool {
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
func (c *multiCall) onClaim(wire.ClaimRequest) bool { return false }

// onConnClosed implements pendingCall. It does nothing, because the method next also waits for the
// end of the conn's context.
func (c *multiCall) onConnClosed() {}

// Delivered implements bus.DeliveryReport. It records the number of receivers, or the error if the
// bus lost the request.
func (c *multiCall) Delivered(receivers int, err error) {
	c.mu.Lock()
	c.receivers, c.publishErr = receivers, err
	c.mu.Unlock()
	c.wakeup.Send()
}

// withFacts returns an error that wraps err and contains diagnostic facts about the call, including
// the reason why the call failed.
func (c *multiCall) withFacts(err error, reason errors.Reason) error {
	now := time.Now()
	facts := errors.CallFacts{Method: c.plan.method.FullName(), Topic: c.route.topic, Reason: reason}
	if c.published.IsZero() {
		facts.Phase, facts.PublishTime = errors.PhasePublish, now.Sub(c.started)
	} else {
		facts.Phase, facts.PublishTime = errors.PhaseResponse, c.published.Sub(c.started)
		facts.ResponseTime = now.Sub(c.published)
	}
	return errors.WithFacts(err, facts)
}

func (p *clientPlan) decodeServerResponse(received *serverResponse) {
	if received.err == nil {
		received.message, received.err = p.decodeResponse(received.raw)
	}
}

// receive waits for the next response, passes it through the interceptors, if any, and returns the
// decoded response. It returns false if there are no more responses.
func (c *multiCall) receive(ctx context.Context) (received serverResponse, ok bool) {
	if c.chain != nil {
		return c.chain.next(ctx, c)
	}
	received, ok = c.next(ctx)
	if ok {
		c.plan.decodeServerResponse(&received)
	}
	return received, ok
}
