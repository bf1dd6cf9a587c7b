package dynamic

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// unaryCall is the state machine of a call that one server answers, and of the opening of a stream.
// It belongs to the calling goroutine; bus callbacks only write to its inbox.
//
// # Claims and grants
//
// A request of a method routed by affinity, and every opening of a stream, is broadcast to all
// servers, and exactly one of them must run it. Each server therefore claims the request and waits.
// The client selects one claim and publishes a grant with the id of the server; that server runs
// the request, and the others drop it.
//
// A request of a queue method reaches one server only, selected by the bus. Claim and grant would
// add two messages and a round trip to it, so a dynpsrpc server answers at once if the request has
// AcceptDirect: a call takes two messages, where psrpc takes four. A psrpc server does not know
// AcceptDirect and claims the request; its claim is then granted.
//
// Methods with a single server need no claim, and their response is direct as well.
type unaryCall struct {
	plan  *clientPlan
	route *route
	inbox *callInbox // its id is the id of the request
	// claims is nil while no server need be selected.
	claims *selection.Collector
	// server is the id of the server that was granted the call. It is empty before that, and stays
	// empty if a server answered directly.
	server string

	started                    time.Time
	expiry, published, granted time.Duration // since started
	// acceptDirect is true if a response counts without a claim.
	acceptDirect bool
	sent         bool
	// selecting is true while the call waits for claims and has not selected a server. It is never
	// true for a call that accepts a direct response.
	selecting bool
}

func newUnaryCall(p *clientPlan, r *route) unaryCall {
	return unaryCall{plan: p, route: r, inbox: p.conn.inboxes.get(), started: time.Now()}
}

// callUnary sends a request to one server and returns the encoded response.
//
// A request that accepts a direct response also has SkipClaim set, for servers of psrpc 0.7.4,
// which then run the handler without waiting for a grant.
func (p *clientPlan) callUnary(ctx context.Context, r *route, request proto.Message, o *requestOptions) ([]byte, error) {
	c := newUnaryCall(p, r)
	defer p.conn.inboxes.put(c.inbox)
	c.chooseSelection(o, p.method.Queue())
	c.inbox.requireClaim = c.selecting
	timeout, expiry := p.conn.bounds(ctx, c.started, o)
	c.expiry = expiry.Sub(c.started)
	direct := c.acceptDirect && p.method.RequireClaim()
	outgoing := wire.Request{
		RequestID: c.inbox.id[:], ClientID: p.conn.wireID,
		SentAt: c.started.UnixNano(), Expiry: expiry.UnixNano(),
		Metadata: o.outgoingMetadata(ctx), Body: p.requests.Body(request),
		SkipClaim: direct, AcceptDirect: direct, AcceptDecline: c.selecting,
	}
	frame, err := outgoing.AppendFrame(nil)
	if err != nil {
		return nil, errors.NewErrorf(errors.MalformedRequest, "request of %s cannot be encoded: %w", p.method.FullName(), err)
	}
	response, err := c.run(ctx, r.requests, frame, timeout)
	for _, serverID := range o.serverIDs {
		*serverID = c.responder()
	}
	return response, err
}

// chooseSelection sets how the server of the call is found. queued is true if the bus delivers the
// request to one server, as it does for calls of queue methods but not for streams.
func (c *unaryCall) chooseSelection(o *requestOptions, queued bool) {
	method := c.plan.method
	options := &c.plan.conn.options
	switch {
	case !method.RequireClaim():
		c.acceptDirect = true
	case o.selection != nil:
		c.startSelection(*o.selection, nil)
	case queued:
		c.acceptDirect = true
	case method.Routing() == registry.RoutingAffinity:
		c.startSelection(options.adaptiveSelection(), c.route.membership)
	default: // a stream of a queue method, which is broadcast: take the first server
		c.startSelection(SelectionOpts{AcceptFirstAvailable: true, AffinityTimeout: options.selectionTimeout}, nil)
	}
}

func (c *unaryCall) startSelection(opts SelectionOpts, membership *selection.Membership) {
	c.selecting = true
	c.claims = selection.NewCollector(opts.internal(), membership)
}

// run publishes the request in frame, waits, and returns the encoded response.
//
// The call becomes pending before the conn is checked, so that a conn that is closed in between
// either fails the check or notifies the call.
func (c *unaryCall) run(ctx context.Context, channel bus.Channel, frame []byte, timeout time.Duration) ([]byte, error) {
	conn := c.plan.conn
	if err := ctx.Err(); err != nil {
		return nil, c.contextError(err)
	}
	conn.pending.add(c.inbox.id, c.inbox)
	defer c.deregister()
	if conn.err() != nil {
		return nil, c.withFacts(conn.closeError())
	}
	if err := conn.bus.Publish(ctx, channel, frame, &requestReport{c.inbox, c.inbox.id}); err != nil {
		return nil, c.withFacts(transport.ClassifyError(err))
	}
	c.sent, c.published = true, time.Since(c.started)
	if c.selecting {
		c.claims.Start(&conn.timers)
		defer c.claims.Stop()
	}
	c.inbox.timer.start(c.started, timeout)
	defer c.inbox.timer.stop()
	return c.wait(ctx)
}

// deregister removes the call from the pending calls. Servers that answer an adaptive selection
// later become members, see [selection.LateResponses].
func (c *unaryCall) deregister() {
	conn := c.plan.conn
	if c.claims != nil && c.claims.Membership() != nil {
		conn.lateResponses.Add(c.inbox.id, c.claims.Membership())
	}
	conn.pending.remove(c.inbox.id)
}

// wait handles messages and timeouts until the call has succeeded or failed.
func (c *unaryCall) wait(ctx context.Context) ([]byte, error) {
	done := ctx.Done()
	for {
		var selectionTimeout <-chan time.Time
		if c.selecting {
			selectionTimeout = c.claims.Timeout()
		}
		if selectionTimeout == nil && done == nil {
			// Fast path: most calls wait on nothing else, and a select costs as much as the rest of
			// the loop.
			<-c.inbox.wakeup
		} else {
			select {
			case <-c.inbox.wakeup:
			case <-selectionTimeout:
				if err := c.selectServer(ctx); err != nil {
					return nil, err
				}
			case <-done:
				// A deadline needs no cancellation: servers know it from the request's expiry.
				if errors.Is(ctx.Err(), context.Canceled) {
					c.plan.cancel(c.inbox.id)
				}
				return nil, c.contextError(ctx.Err())
			}
		}
		response, isFinal, err := c.step(ctx)
		if isFinal || err != nil {
			return response, err
		}
		if c.plan.conn.err() != nil {
			c.plan.cancel(c.inbox.id)
			return nil, c.withFacts(c.plan.conn.closeError())
		}
	}
}

// step handles the state of the inbox. It returns the encoded response, or the error, and whether
// the call has ended.
func (c *unaryCall) step(ctx context.Context) (response []byte, isFinal bool, err error) {
	state := c.inbox.snapshot()
	switch {
	case state.isError() && c.isFinal(state.failure):
		// After the expiry the failure is most likely the error of the handler's expired context.
		if time.Since(c.started) >= c.expiry {
			return nil, true, c.contextError(context.DeadlineExceeded)
		}
		return nil, true, serverError(state.failure)
	case state.answered && state.failure == nil && !c.selecting:
		if c.server != "" {
			c.claims.UpdateMembership(state.claims, state.receivers)
		}
		return state.body, true, nil
	case state.publishErr != nil:
		return nil, true, c.withFacts(transport.ClassifyError(state.publishErr))
	case c.server == "" && c.claims.HasNew(state.claims, state.receivers):
		if err := c.onClaims(ctx, &state); err != nil || c.server == "" {
			return nil, false, err
		}
		return c.step(ctx) // the response may have arrived with the claim
	case state.receivers == 0 && len(state.claims) == 0:
		return nil, true, c.withFacts(errors.ErrNoResponse, errors.ReasonNobodyListening)
	case state.timedOut:
		return nil, true, c.contextError(context.DeadlineExceeded)
	}
	return nil, false, nil
}

// isFinal reports whether an error response ends the call. During the selection it does not,
// because another server may still claim the request; except if the request itself is malformed,
// which every server would report.
func (c *unaryCall) isFinal(response *wire.Response) bool {
	return !c.selecting || response.Code == string(errors.MalformedRequest)
}

// serverError returns the error in a response: the server's code, text and details, and its
// Unprocessed mark.
func serverError(response *wire.Response) error {
	err := errors.FromWire(errors.ErrorCode(response.Code), response.Error, response.Details)
	if response.Unprocessed {
		return remoteUnprocessedError{err}
	}
	return err
}

// onClaims passes new claims to the selection and grants the request once a server is selected.
func (c *unaryCall) onClaims(ctx context.Context, state *callState) error {
	if c.claims == nil { // a psrpc server, which claims a request that it could answer directly
		c.claims = selection.NewCollector(selection.Opts{AcceptFirstAvailable: true}, nil)
	}
	server, selected, complete := c.claims.Add(state.claims, state.receivers)
	if selected {
		return c.grant(ctx, server)
	}
	if complete {
		return c.selectServer(ctx)
	}
	return nil
}

// selectServer ends the selection: it grants the request to the best claim so far, or fails. The
// servers that claimed are notified of a failure, so that they do not wait for a grant.
func (c *unaryCall) selectServer(ctx context.Context) error {
	state := c.inbox.snapshot()
	// Claims may have arrived since the last step.
	if server, selected, _ := c.claims.Add(state.claims, state.receivers); selected {
		return c.grant(ctx, server)
	}
	c.claims.UpdateMembership(state.claims, state.receivers)
	server, err := c.claims.Choose()
	switch {
	case err != nil:
		c.plan.cancel(c.inbox.id)
		if _, coded := errors.AsType[errors.Error](err); !coded {
			err = errors.NewError(errors.Unavailable, err)
		}
		return c.withFacts(err, errors.ReasonAllDeclined)
	case server != "":
		return c.grant(ctx, server)
	case c.claims.HasSelectionFunc():
		if err := c.grant(ctx, ""); err != nil { // an empty id grants the request to no server
			return err
		}
		err, _ := c.claims.Err()
		return c.withFacts(err, errors.ReasonAllDeclined)
	}
	c.plan.cancel(c.inbox.id)
	if state.isError() {
		return serverError(state.failure)
	}
	return c.withFacts(c.claims.Err())
}

// grant publishes the id of the selected server to all servers of the method: the selected one runs
// the request, the others drop it.
func (c *unaryCall) grant(ctx context.Context, server string) error {
	selected := wire.ClaimResponse{RequestID: c.inbox.id[:], ServerID: []byte(server)}
	frame, err := selected.AppendFrame(nil)
	if err != nil {
		return errors.NewErrorf(errors.Internal, "call of %s: grant to server %q cannot be encoded: %w",
			c.plan.method.FullName(), server, err)
	}
	if c.inbox.requireClaim {
		c.inbox.discardUnselectedResponse(server)
	}
	if err := c.plan.conn.bus.Publish(ctx, c.route.grants, frame, &grantReport{c.inbox, c.inbox.id}); err != nil {
		return c.withFacts(transport.ClassifyError(err))
	}
	c.server, c.selecting, c.granted = server, false, time.Since(c.started)
	return nil
}

// responder returns the id of the server that has answered, or else of the one that was granted the
// request. It is empty if neither is known.
func (c *unaryCall) responder() string {
	if state := c.inbox.snapshot(); state.answered {
		return string(state.server)
	}
	return c.server
}

// contextError returns the error of a call whose context or timeout ended before a response
// arrived. If that was during the selection the result is the selection's error instead of a
// timeout: no server was granted the request, and one may have reported why it cannot run it.
func (c *unaryCall) contextError(err error) error {
	coded := errors.FromContext(err)
	switch {
	case coded.Code() == errors.Canceled, !c.sent:
		return c.withFacts(coded, transport.ContextReason(err))
	case c.server != "":
		return c.withFacts(coded, errors.ReasonClaimedButSilent)
	case c.selecting:
		if state := c.inbox.snapshot(); state.isError() {
			return serverError(state.failure)
		}
		return c.withFacts(c.claims.Err())
	default:
		return c.withFacts(coded, errors.ReasonSilent)
	}
}

// withFacts adds the facts of the call to err.
func (c *unaryCall) withFacts(err error, reason errors.Reason) error {
	elapsed := time.Since(c.started)
	facts := errors.CallFacts{
		Method: c.plan.method.FullName(), Topic: c.route.topic, Reason: reason, ServerID: c.server,
	}
	if c.claims != nil {
		c.claims.AddFacts(&facts)
	}
	switch {
	case !c.sent:
		facts.Phase, facts.PublishTime = errors.PhasePublish, elapsed
	case c.selecting:
		facts.Phase, facts.PublishTime = errors.PhaseSelection, c.published
		facts.SelectionTime = elapsed - c.published
	case c.server == "":
		facts.Phase, facts.PublishTime = errors.PhaseResponse, c.published
		facts.ResponseTime = elapsed - c.published
	default:
		facts.Phase, facts.PublishTime = errors.PhaseResponse, c.published
		facts.SelectionTime, facts.ResponseTime = c.granted-c.published, elapsed-c.granted
	}
	return errors.WithFacts(err, facts)
}

// abortOpening closes a stream whose opening failed. If the request was published, a server may
// have accepted the stream, so a close is sent with the plain error, as in psrpc.
func (c *unaryCall) abortOpening(ctx context.Context, s *stream, err error) {
	defer s.release()
	if _, ok := errors.FactsOf(err); ok {
		err = errors.Unwrap(err)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if !c.sent {
		s.markClosed(err)
		return
	}
	_ = s.Close(err) // the caller returns err
}
