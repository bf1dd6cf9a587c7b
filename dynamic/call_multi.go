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

// maxResponses bounds what one multi call keeps for a caller that does not read.
const maxResponses = 10_000

// multiCall is one call that every server answers, on its way. The bus puts responses in and never waits; the
// caller's goroutine takes them out.
type multiCall struct {
	plan     *clientPlan
	route    *route
	id       id.Call
	request  proto.Message // as it was given
	expected int           // responses to wait for; 0: not known
	wakeup   queue.Wakeup
	chain    *multiChain // nil without interceptors

	started   time.Time
	published time.Time
	timer     *time.Timer
	done      bool // a last response was given

	mu         sync.Mutex
	queue      []wire.Response
	responders selection.Responders
	receivers  int
	publishErr error
}

// startMulti publishes a request to all servers. The call must be stopped.
func (p *clientPlan) startMulti(ctx context.Context, r *route, request proto.Message, o *requestOptions) (*multiCall, error) {
	c := &multiCall{
		plan: p, route: r, id: id.NewRequest(), request: request, expected: o.expected, wakeup: queue.NewWakeup(),
		started: time.Now(), receivers: bus.Unknown,
	}
	if err := ctx.Err(); err != nil {
		return nil, c.withFacts(errors.FromContext(err), transport.ContextReason(err))
	}
	if p.conn.err() != nil {
		return nil, c.withFacts(p.conn.closeError())
	}
	timeout, _ := p.conn.bounds(ctx, c.started, o)
	outgoing := wire.Request{
		RequestID: c.id[:], ClientID: p.conn.wireID,
		SentAt: c.started.UnixNano(), Expiry: c.started.Add(timeout).UnixNano(), // not cut to the context, as in psrpc
		Multi: true, Metadata: o.outgoingMetadata(ctx), Body: p.requests.Body(request),
	}
	frame, err := outgoing.AppendFrame(nil)
	if err != nil {
		return nil, errors.NewErrorf(errors.MalformedRequest, "request of %s cannot be encoded: %w", p.method.FullName(), err)
	}
	p.conn.pending.add(c.id, c)
	if err := p.conn.bus.Publish(ctx, r.requests, frame, c); err != nil {
		p.conn.pending.remove(c.id)
		return nil, c.withFacts(transport.ClassifyError(err))
	}
	c.published = time.Now()
	c.timer = p.conn.timers.Start(timeout)
	return c, nil
}

// stop ends the call. Nothing is put in after it.
func (c *multiCall) stop() {
	if c.chain != nil {
		c.chain.close()
	}
	c.plan.conn.lateResponses.Add(c.id, c.route.membership)
	c.plan.conn.pending.remove(c.id)
	c.plan.conn.timers.Stop(c.timer)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.route.membership.AddAll(&c.responders) // one may have come since the call was complete
}

// next returns the next response, as soon as there is one, or false when no more will come. Of a call that failed
// as a whole the last response says why.
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
			c.updateMembership() // who has not answered by now is gone
		case <-ctx.Done():
			c.done = true
			c.plan.cancel(c.id) // also at a deadline, to which the request's expiry was not cut
		case <-c.plan.conn.ctx.Done():
			c.done = true
			c.plan.cancel(c.id)
			return serverResponse{err: c.withFacts(c.plan.conn.closeError())}, true
		}
	}
	return serverResponse{}, false
}

// serverResponse is what one server answered.
type serverResponse struct {
	serverID string
	raw      []byte
	message  proto.Message // raw, decoded
	err      error
}

// pop returns a response that has come, and whether the call has ended.
func (c *multiCall) pop() (response serverResponse, ok, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.queue) > 0:
		next := c.queue[0]
		c.queue = c.queue[1:]
		response = serverResponse{serverID: string(next.ServerID), raw: next.Body.Raw}
		if next.Error != "" {
			response.err = serverError(&next)
		}
		return response, true, false
	case c.publishErr != nil:
		return serverResponse{err: c.withFacts(transport.ClassifyError(c.publishErr))}, true, true
	case c.receivers == 0 && c.responders.Count() == 0:
		return serverResponse{err: c.withFacts(errors.ErrNoResponse, errors.ReasonNobodyListening)}, true, true
	case c.expected > 0 && c.responders.Count() >= c.expected:
		return serverResponse{}, false, true
	case c.route.membership.IsComplete(c.receivers, &c.responders):
		c.route.membership.Update(c.receivers, &c.responders)
		return serverResponse{}, false, true
	}
	return serverResponse{}, false, false
}

func (c *multiCall) updateMembership() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.route.membership.Update(c.receivers, &c.responders)
}

// OnResponse takes one response of each server.
func (c *multiCall) onResponse(response wire.Response) bool {
	c.mu.Lock()
	server := string(response.ServerID)
	useful := !c.responders.Has(server) && len(c.queue) < maxResponses
	if useful {
		c.responders.Add(server, selection.WeightOf(response.Subscribers))
		c.queue = append(c.queue, response)
	}
	c.mu.Unlock()
	c.wakeup.Send()
	return useful
}

// onClaim has no use for claims: nobody chooses.
func (c *multiCall) onClaim(wire.ClaimRequest) bool { return false }

// onConnClosed is known by the conn's Done.
func (c *multiCall) onConnClosed() {}

// Published takes the bus's report on the request.
func (c *multiCall) Delivered(receivers int, err error) {
	c.mu.Lock()
	c.receivers, c.publishErr = receivers, err
	c.mu.Unlock()
	c.wakeup.Send()
}

// withFacts adds to err what is known of the call.
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
