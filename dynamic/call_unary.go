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

// unaryCall is one call that one server answers, or the opening of a stream, on its way. It belongs to the
// caller's goroutine.
type unaryCall struct {
	plan   *clientPlan
	route  *route
	inbox  *callInbox           // has the request's id
	claims *selection.Collector // nil as long as there is nothing to choose
	server string               // the one that was granted the call

	started                    time.Time
	expiry, published, granted time.Duration // since it was started
	acceptDirect               bool          // an answer is welcome without a claim
	sent                       bool
	selecting                  bool // no server was chosen yet, and one must be
}

func newUnaryCall(p *clientPlan, r *route) unaryCall {
	return unaryCall{plan: p, route: r, inbox: p.conn.inboxes.get(), started: time.Now()}
}

// callUnary sends a request to one server and returns the encoded response.
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

// chooseSelection decides how a server is found. A queue has chosen one when the request arrives, so that its
// answer can come directly; a peer that does not know that claims the request, and the first claim is granted.
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
	default: // a stream, which no queue distributes: the first server will do
		c.startSelection(SelectionOpts{AcceptFirstAvailable: true, AffinityTimeout: options.selectionTimeout}, nil)
	}
}

func (c *unaryCall) startSelection(opts SelectionOpts, membership *selection.Membership) {
	c.selecting = true
	c.claims = selection.NewCollector(opts.internal(), membership)
}

// run publishes the request in frame and returns the encoded response.
func (c *unaryCall) run(ctx context.Context, channel bus.Channel, frame []byte, timeout time.Duration) ([]byte, error) {
	conn := c.plan.conn
	if err := ctx.Err(); err != nil {
		return nil, c.contextError(err)
	}
	conn.pending.add(c.inbox.id, c.inbox)
	defer c.deregister()
	if conn.err() != nil { // if it ends later, it wakes those who are pending
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

// deregister ends what the conn does for the call.
func (c *unaryCall) deregister() {
	conn := c.plan.conn
	if c.claims != nil && c.claims.Membership() != nil {
		conn.lateResponses.Add(c.inbox.id, c.claims.Membership())
	}
	conn.pending.remove(c.inbox.id)
}

// wait returns when the call has succeeded or failed.
func (c *unaryCall) wait(ctx context.Context) ([]byte, error) {
	done := ctx.Done()
	for {
		var selectionTimeout <-chan time.Time
		if c.selecting {
			selectionTimeout = c.claims.Timeout()
		}
		if selectionTimeout == nil && done == nil { // as it is most often: without a select, which costs as much as the rest
			<-c.inbox.wakeup
		} else {
			select {
			case <-c.inbox.wakeup:
			case <-selectionTimeout:
				if err := c.selectServer(ctx); err != nil {
					return nil, err
				}
			case <-done:
				if errors.Is(ctx.Err(), context.Canceled) { // a deadline is the request's expiry, too
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

// step acts upon what has come, and returns the encoded response if the call has ended with it.
func (c *unaryCall) step(ctx context.Context) (response []byte, isFinal bool, err error) {
	state := c.inbox.snapshot()
	switch {
	case state.isError() && c.isFinal(state.failure):
		if time.Since(c.started) >= c.expiry { // then it is most likely the handler's context that ended
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
		return c.step(ctx) // the answer may have come with the claim
	case state.receivers == 0 && len(state.claims) == 0:
		return nil, true, c.withFacts(errors.ErrNoResponse, errors.ReasonNobodyListening)
	case state.timedOut:
		return nil, true, c.contextError(context.DeadlineExceeded)
	}
	return nil, false, nil
}

// isFinal tells whether an error is the call's. While a server is being chosen, one that has failed leaves the
// call to the others, unless it is the request that is at fault.
func (c *unaryCall) isFinal(response *wire.Response) bool {
	return !c.selecting || response.Code == string(errors.MalformedRequest)
}

func serverError(response *wire.Response) error {
	err := errors.FromWire(errors.ErrorCode(response.Code), response.Error, response.Details)
	if response.Unprocessed {
		return remoteUnprocessedError{err}
	}
	return err
}

// onClaims looks at new claims and grants the request if that settles who gets it.
func (c *unaryCall) onClaims(ctx context.Context, state *callState) error {
	if c.claims == nil { // a queue has chosen a server, which does not know that it could have answered at once
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

// selectServer chooses among the claims that are there.
func (c *unaryCall) selectServer(ctx context.Context) error {
	state := c.inbox.snapshot()
	if server, selected, _ := c.claims.Add(state.claims, state.receivers); selected { // came at the last moment
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
		if err := c.grant(ctx, ""); err != nil { // tells the servers that nobody is wanted
			return err
		}
		err, _ := c.claims.Err()
		return c.withFacts(err, errors.ReasonAllDeclined)
	}
	c.plan.cancel(c.inbox.id) // the servers that claimed need not wait
	if state.isError() {
		return serverError(state.failure)
	}
	return c.withFacts(c.claims.Err())
}

// grant tells all servers which one shall run the request.
func (c *unaryCall) grant(ctx context.Context, server string) error {
	selected := wire.ClaimResponse{RequestID: c.inbox.id[:], ServerID: []byte(server)}
	frame, err := selected.AppendFrame(nil)
	if err != nil {
		return errors.NewErrorf(errors.Internal, "server id %q in the call of %s: %w", server, c.plan.method.FullName(), err)
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

// responder is the server that has answered, or was selected to.
func (c *unaryCall) responder() string {
	if state := c.inbox.snapshot(); state.answered {
		return string(state.server)
	}
	return c.server
}

// contextError is the error of a call that ended before its answer came.
func (c *unaryCall) contextError(err error) error {
	coded := errors.FromContext(err)
	switch {
	case coded.Code() == errors.Canceled, !c.sent:
		return c.withFacts(coded, transport.ContextReason(err))
	case c.server != "":
		return c.withFacts(coded, errors.ReasonClaimedButSilent)
	case c.selecting: // nobody can have run the request
		if state := c.inbox.snapshot(); state.isError() {
			return serverError(state.failure)
		}
		return c.withFacts(c.claims.Err())
	default:
		return c.withFacts(coded, errors.ReasonSilent)
	}
}

// withFacts adds to err what is known of the call.
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

// abortOpening closes a stream that could not be opened. The servers are told if they may have heard of it, with what psrpc
// says: the plain error.
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
	_ = s.Close(err) // the caller has a better error
}
