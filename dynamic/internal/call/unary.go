package call

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// unaryCall is the state machine of a call that one server answers. It is also used to open
// streams. Only the calling goroutine uses it; bus callbacks write to the field inbox instead.
//
// A request for a method with affinity routing, or to open a stream, usually reaches all servers,
// but only one may run it. Each server therefore claims the request and waits for a grant. The
// client selects one claim and publishes a grant with the ID of that server.
//
// No claim is needed if a method is declared to have a single server, or if a stream with MULTI
// routing is opened on all servers. A request for a queue method reaches only one server. If
// AnnounceAfter is set in it, a dynpsrpc server responds without a claim. A psrpc server does not
// know AnnounceAfter and claims the request, which the client then grants.
type unaryCall struct {
	plan  *Plan
	route *Route
	// inbox collects the claims and the response. Its field id is the ID of the request.
	inbox *callInbox
	// claims collects the claims from which a server is selected. It is nil until a selection is
	// needed.
	claims *selection.Collector
	// server is the ID of the server to which the request was granted, or which has announced that
	// it is handling the request. It remains empty if a server responds without a grant or an
	// announcement.
	server string
	// handling reports whether the server in the field server handles the request without a grant.
	handling bool

	started time.Time
	// expiry is the time at which the request expires. published is the time at which it was
	// published, and granted is the time at which the field server was set. All three are measured
	// from started.
	expiry, published, granted time.Duration
	// timeout is the timeout of the whole call.
	timeout time.Duration
	// acceptDirect reports whether a response is accepted without a claim.
	acceptDirect bool
	// acceptsAny reports whether the request may be sent to a single server that has recently
	// claimed another request; see [selection.Opts.AcceptFirstAvailable].
	acceptsAny bool
	// awaitsSign reports whether the call fails at the time signDeadline if no server has confirmed
	// the request by a response or a claim. The request is then most likely lost. If the handler
	// takes longer than AnnounceAfter, the server sends a claim in which Handling is set.
	// awaitsSign is used only for calls that accept a response without a claim; see the field
	// selecting for all others.
	awaitsSign bool
	// signDeadline is the time, measured from started, until which the call waits for a server to
	// confirm that it received the request.
	signDeadline time.Duration
	sent         bool
	// selecting reports whether the call is waiting for claims and has not yet selected a server.
	// It is never true for a call that accepts a response without a claim.
	selecting bool
	// frame is the encoded request if it was first sent to candidates or to member, so that it can
	// be sent again. Its last keySize bytes are a routing key, which is sent only to single
	// servers.
	frame   []byte
	keySize int
	// candidates holds the servers to which the request was sent because of
	// Selection.Candidates. For all other requests, it is nil.
	candidates []*selection.Member
	// selection holds Request.Selection if it allows the request to be sent to only some
	// servers. If none of these servers accepts it, a selection among all servers follows, with the
	// same options. selection is nil for all other calls, including those to queue methods.
	selection *Selection
	// member is the only server to which the request was sent. It is nil if the request was sent to
	// several or all servers or to the queue.
	member *selection.Member
}

func newUnaryCall(p *Plan, r *Route) unaryCall {
	return unaryCall{plan: p, route: r, inbox: p.engine.inboxes.get(p.engine.ids.newRequest()), started: time.Now()}
}

// maxAnnounceAfter is the longest time for which a server handles a request before it announces
// this to the client.
const maxAnnounceAfter = 200 * time.Millisecond

// announceAfterOf returns the value of [wire.Request.AnnounceAfter], in milliseconds. signTimeout
// is how long the call waits for a server to confirm the request. The value is a quarter of
// signTimeout, so that most of that time is left for the announcement to arrive. However, it is at
// least 1 ms and at most maxAnnounceAfter.
func announceAfterOf(signTimeout time.Duration) uint32 {
	const share = 4
	return uint32(max(min(maxAnnounceAfter, signTimeout/share).Milliseconds(), 1)) //nolint:gosec // at most 200
}

// signTimeout returns how long the call waits for a server to confirm that it has received the
// request. It is used only if the call accepts a response without a claim.
func (c *unaryCall) signTimeout() time.Duration {
	timeout := c.plan.engine.config.SelectionTimeout
	if c.selection != nil && c.selection.AffinityTimeout > 0 {
		timeout = min(timeout, c.selection.AffinityTimeout)
	}
	return timeout
}

// Call sends a request to one server and returns the encoded response, which the caller must not
// modify. If ending is not nil, Call stores in it how the call has ended. It does not do so if the
// request cannot be encoded.
func (p *Plan) Call(ctx context.Context, r *Route, request *Request, ending *Ending) ([]byte, error) {
	engine := p.engine
	c := newUnaryCall(p, r)
	defer engine.inboxes.put(c.inbox)
	c.chooseSelection(request.Selection, p.method.Queue())
	c.inbox.requireClaim = c.selecting
	timeout, expiry := engine.Bounds(ctx, c.started, request.Timeout)
	c.expiry = expiry.Sub(c.started)
	// If no selection is needed, AnnounceAfter saves a round trip: dynpsrpc servers run the handler
	// without a claim and a grant. SkipClaim does nearly the same for queue methods on servers of
	// psrpc 0.7.5 and later, which run the handler right after their claim.
	announceAfter := uint32(0)
	if c.acceptDirect && p.method.RequireClaim() {
		announceAfter, c.awaitsSign = announceAfterOf(c.signTimeout()), true
	}
	outgoing := wire.Request{
		RequestID: c.inbox.id[:], ClientID: engine.wireID,
		SentAt: c.started.UnixNano(), Expiry: expiry.UnixNano(),
		Metadata: request.Metadata, Body: request.Body,
		SkipClaim: c.awaitsSign && p.method.Queue(), AnnounceAfter: announceAfter,
		AcceptDecline: c.selecting || c.selection != nil,
	}
	if c.member != nil || c.candidates != nil {
		defer c.leaveMember()
		outgoing.RoutingKey = r.Requests.Name
		c.keySize = wire.SizeRoutingKey(outgoing.RoutingKey)
	}
	frame, err := outgoing.AppendFrame(nil)
	if err != nil {
		return nil, errors.NewErrorf(errors.MalformedRequest, "request of %s cannot be encoded: %w", p.method.FullName(), err)
	}
	response, err := c.run(ctx, r.Requests, frame, timeout)
	c.updateMembers(err)
	if ending != nil {
		*ending = c.ending(err)
	}
	return response, err
}

// chooseSelection determines how the server for the call is selected, and whether the request is
// sent only to some servers. opts is Request.Selection. queued reports whether the bus delivers the
// request to a single server. This is the case for calls to queue methods, but not for streams.
func (c *unaryCall) chooseSelection(opts *Selection, queued bool) {
	method := c.plan.method
	switch {
	case !method.RequireClaim():
		c.acceptDirect = true
	case opts != nil:
		c.selectWith(opts)
	case queued:
		c.acceptDirect = true
	case method.Routing() == registry.RoutingAffinity:
		c.startSelection(c.plan.engine.config.adaptiveSelection(), c.route.membership)
	default:
		// This is a stream of a queue method. Its request is broadcast, and the first server that
		// claims it is selected.
		timeout := c.plan.engine.config.SelectionTimeout
		c.startSelection(selection.Opts{AcceptFirstAvailable: true, AffinityTimeout: timeout}, nil)
	}
	if unicast := c.route.unicast; unicast != nil && queued && !c.selecting {
		c.inbox.unicast = unicast
		c.member = unicast.choose(c.started)
	}
}

// selectWith is the part of chooseSelection for calls with Request.Selection. It may also send a
// discovery request, so that later calls know the servers.
func (c *unaryCall) selectWith(opts *Selection) {
	unicast := c.route.unicast
	c.acceptsAny = unicast != nil && opts.acceptsAnyServer() && c.plan.engine.traits.ReportsNone
	if unicast == nil || c.plan.method.Queue() || opts.Candidates <= 0 && !c.acceptsAny {
		c.startSelection(opts.Opts, nil)
		return
	}
	c.inbox.unicast, c.selection = unicast, opts
	if c.acceptsAny {
		if c.member = unicast.chooseWilling(c.started); c.member != nil {
			c.acceptDirect = true
			return
		}
	}
	if c.plan.presence != nil {
		c.plan.presence.ask(c.route.Requests.Name, c.route.membership)
	}
	c.startSelection(opts.Opts, nil)
	if opts.Candidates > 0 {
		if c.candidates = unicast.candidates(opts.Candidates, c.started); c.candidates != nil {
			c.claims = selection.NewCandidatesCollector(opts.Opts, len(c.candidates))
		}
	}
}

func (c *unaryCall) startSelection(opts selection.Opts, membership *selection.Membership) {
	c.selecting = true
	c.claims = selection.NewCollector(opts, membership)
}

// run publishes the request in frame, waits for the response, and returns the encoded response
// message.
func (c *unaryCall) run(ctx context.Context, channel bus.Channel, frame []byte, timeout time.Duration) ([]byte, error) {
	engine := c.plan.engine
	if err := ctx.Err(); err != nil {
		return nil, c.contextError(err)
	}
	if presence := c.plan.presence; presence != nil && c.claims != nil && c.claims.Membership() != nil {
		presence.ask(c.route.Requests.Name, c.route.membership)
		c.claims.Watch(c.inbox.wakeup)
		defer c.claims.Unwatch(c.inbox.wakeup)
	}
	// Add the call to the pending calls before checking whether the engine is closed. If the engine
	// is closed at the same time, either the check finds this, or the pending call is notified.
	engine.pending.add(c.inbox.id, c.inbox)
	defer c.deregister()
	if engine.Err() != nil {
		return nil, c.withFacts(engine.closeError())
	}
	var err error
	if c.candidates != nil || c.member != nil {
		err = c.publishUnicast(ctx, channel, frame)
	} else {
		err = engine.bus.Publish(ctx, channel, frame, &requestReport{c.inbox, c.inbox.id})
	}
	if err != nil {
		return nil, c.withFacts(transport.ClassifyError(err))
	}
	c.sent, c.published = true, time.Since(c.started)
	if c.selecting || c.selection != nil {
		// A selection may also start later, in askAll.
		defer func() { c.claims.Stop() }()
	}
	if c.selecting {
		c.claims.Start(&engine.timers)
		if c.candidates != nil {
			c.claims.Limit(engine.config.ShortCircuitTimeout)
		}
	}
	c.timeout = timeout
	c.inbox.timer.start(c.started, c.nextDeadline(c.published))
	defer c.inbox.timer.stop()
	return c.wait(ctx)
}

// publishUnicast sends the request to c.candidates or to c.member. If c.member serves a queue and
// the bus refuses the request to c.member, publishUnicast sends it to channel instead.
func (c *unaryCall) publishUnicast(ctx context.Context, channel bus.Channel, frame []byte) error {
	engine := c.plan.engine
	c.frame = frame
	if c.candidates != nil {
		for _, candidate := range c.candidates {
			report := &candidateReport{c.inbox, c.inbox.id, c.route.unicast, candidate}
			if err := engine.bus.Publish(ctx, bus.Channel(candidate.Channel), frame, report); err != nil {
				report.Delivered(bus.Unknown, err)
			}
		}
		return nil
	}
	report := &unicastReport{c.inbox, c.inbox.id}
	err := engine.bus.Publish(ctx, bus.Channel(c.member.Channel), frame, report)
	switch {
	case err == nil:
		return nil
	case c.selection == nil:
		c.leaveMember()
		return engine.bus.Publish(ctx, channel, c.frameWithoutKey(), &requestReport{c.inbox, c.inbox.id})
	case transport.IsPermissionDenied(err):
		report.Delivered(bus.Unknown, err)
		return nil
	default:
		return err
	}
}

// frameWithoutKey returns the frame of the request without the routing key. The bus may append to
// the frame. Because of Clip, appending does not overwrite the bytes of c.frame that follow.
func (c *unaryCall) frameWithoutKey() []byte { return slices.Clip(c.frame[:len(c.frame)-c.keySize]) }

// resend sends the request to the queue or to all servers, after it was sent to one or several
// servers that have not accepted it.
func (c *unaryCall) resend(ctx context.Context, frame []byte) error {
	if err := c.plan.engine.bus.Publish(ctx, c.route.Requests, frame, &requestReport{c.inbox, c.inbox.id}); err != nil {
		return c.withFacts(transport.ClassifyError(err))
	}
	c.published = time.Since(c.started)
	c.inbox.extend(c.started, c.nextDeadline(c.published))
	return nil
}

// sendElsewhere sends the request to the queue or to all servers, because c.member has not accepted
// it. It must be called only if it is certain that no server has run the request.
func (c *unaryCall) sendElsewhere(ctx context.Context, state *callState) error {
	if c.selection != nil {
		c.route.unicast.onNotAccepted(c.member, state.receivers, state.publishErr)
		c.leaveMember()
		return c.askAll(ctx)
	}
	c.route.unicast.onUndelivered(c.member, state.publishErr)
	c.leaveMember()
	c.inbox.prepareResend(false)
	return c.resend(ctx, c.frameWithoutKey())
}

// askAll sends the request to all servers, and starts a selection among them. It is called when
// none of the candidates has made an acceptable claim, or when a single server has not accepted the
// request.
func (c *unaryCall) askAll(ctx context.Context) error {
	frame, err := c.frameForAll()
	if err != nil {
		return err
	}
	c.claims.Stop()
	c.inbox.prepareResend(true)
	c.candidates, c.server, c.handling, c.acceptDirect, c.awaitsSign = nil, "", false, false, false
	c.startSelection(c.selection.Opts, nil)
	if err := c.resend(ctx, frame); err != nil {
		return err
	}
	c.claims.Start(&c.plan.engine.timers)
	return nil
}

// frameForAll returns the frame of the request without the routing key and AnnounceAfter, which are
// sent only to single servers.
func (c *unaryCall) frameForAll() ([]byte, error) {
	envelope, err := wire.ParseEnvelope(c.frame)
	if err != nil {
		return nil, err
	}
	request, err := wire.ParseRequest(envelope.Value)
	if err != nil {
		return nil, err
	}
	request.AnnounceAfter = 0
	return request.AppendFrame(nil)
}

// leaveMember records that the call no longer waits for c.member. It does nothing if c.member is
// nil.
func (c *unaryCall) leaveMember() {
	if c.member != nil {
		c.member.Done()
		c.member = nil
	}
}

// updateMembers is called when the call has ended; err is its error, or nil. If the call accepts
// any server, updateMembers records which servers have claimed or accepted the request. Later
// requests can then be sent to them. If the request was sent only to one server, and that server
// has not answered in time, updateMembers sends it a discovery request. It also records how the
// server of a queue call has served the request.
func (c *unaryCall) updateMembers(err error) {
	unicast := c.route.unicast
	if c.member != nil && c.selection == nil {
		state := c.inbox.snapshot()
		servedIn := time.Duration(state.servedIn) * time.Microsecond
		unicast.onQueueCallEnded(c.member, servedIn, len(c.frame)+len(state.body), state.failure)
	}
	switch {
	case c.member != nil && err != nil && isUnanswered(err):
		unicast.suspect(c.member)
	case c.selection == nil || !c.acceptsAny:
	case c.member == nil:
		unicast.onClaims(c.inbox.snapshot().claims, c.started.Add(c.published))
	case err == nil:
		unicast.directory().OnAccepted()
	}
}

// isUnanswered reports whether err says that the server of a call has sent neither a response nor
// an announcement in time.
func isUnanswered(err error) bool {
	facts, _ := errors.FactsOf(err)
	return facts.Reason == errors.ReasonNoSign || facts.Reason == errors.ReasonSilent
}

// deregister removes the call from the pending calls. If the selection used the route's membership,
// servers that answer later are still added to the membership; see [selection.LateResponses].
func (c *unaryCall) deregister() {
	engine := c.plan.engine
	if c.claims != nil && c.claims.Membership() != nil {
		engine.lateResponses.Add(c.inbox.id, c.claims.Membership())
	}
	engine.pending.remove(c.inbox.id)
}

// wait processes messages and timeouts until the call has succeeded or failed.
func (c *unaryCall) wait(ctx context.Context) ([]byte, error) {
	done := ctx.Done()
	for {
		var selectionTimeout <-chan time.Time
		if c.selecting {
			selectionTimeout = c.claims.Timeout()
		}
		if selectionTimeout == nil && done == nil {
			// Most calls wait only for a wake-up. A select statement would take as long as the rest
			// of the loop, so it is avoided here.
			<-c.inbox.wakeup
		} else {
			select {
			case <-c.inbox.wakeup:
			case <-selectionTimeout:
				if err := c.selectServer(ctx); err != nil {
					return nil, err
				}
			case <-done:
				// If the deadline has passed, the servers need no cancellation, because the request
				// tells them when it expires.
				if errors.Is(ctx.Err(), context.Canceled) {
					c.giveUp()
				}
				return nil, c.contextError(ctx.Err())
			}
		}
		response, isFinal, err := c.step(ctx)
		if isFinal || err != nil {
			return response, err
		}
		if c.plan.engine.Err() != nil {
			c.giveUp()
			return nil, c.withFacts(c.plan.engine.closeError())
		}
	}
}

// step processes the current state of the inbox. The call has ended if isFinal is true or err is
// not nil. In that case, step returns the encoded response or the error.
func (c *unaryCall) step(ctx context.Context) (response []byte, isFinal bool, err error) {
	state := c.inbox.snapshot()
	switch {
	case state.isError() && c.isFinal(state.failure):
		// If the request has expired, the most likely cause of the error is that the handler's
		// context has ended. The error is therefore reported as a timeout.
		if time.Since(c.started) >= c.expiry {
			return nil, true, c.contextError(context.DeadlineExceeded)
		}
		return nil, true, c.plan.serverError(state.failure, c.route)
	case state.answered && state.failure == nil && !c.selecting:
		if c.server != "" {
			c.claims.UpdateMembership(state.claims, state.receivers)
		}
		return state.body, true, nil
	case c.member != nil && state.isUndelivered():
		return nil, false, c.sendElsewhere(ctx, &state)
	case state.publishErr != nil:
		return nil, true, c.withFacts(transport.ClassifyError(state.publishErr))
	case c.server == "" && c.claims.HasNew(state.claims, state.receivers):
		if err := c.onClaims(ctx, &state); err != nil || c.server == "" {
			return nil, false, err
		}
		// The response may have arrived at the same time as the claim.
		return c.step(ctx)
	case state.receivers == 0 && len(state.claims) == 0:
		return nil, true, c.withFacts(errors.ErrNoResponse, errors.ReasonNobodyListening)
	case state.timedOut:
		return c.onTimeout()
	}
	return nil, false, nil
}

// nextDeadline returns the time at which the timer must expire. If awaitsSign is set, that time is
// shortly before the end of the selection timeout, so that the caller gets ErrNoResponse within the
// timeout. The argument from is the time at which the selection timeout starts. If the timeout of
// the call ends first, nextDeadline returns its end and clears awaitsSign. All times are measured
// from c.started.
func (c *unaryCall) nextDeadline(from time.Duration) time.Duration {
	if !c.awaitsSign {
		return c.timeout
	}
	wait := c.signTimeout()
	if c.awaitsSign = from+wait < c.timeout; c.awaitsSign {
		c.signDeadline = from + wait - wait/20
	} else {
		c.signDeadline = c.timeout
	}
	return c.signDeadline
}

// maxTimerDelay is the longest delay with which a timer expires while this process runs normally. A
// longer delay shows that the process could not run for some time, for example because its machine
// was paused.
const maxTimerDelay = 20 * time.Millisecond

// onTimeout is called when the timer of the inbox has expired. It fails the call or sets the timer
// again.
func (c *unaryCall) onTimeout() (response []byte, isFinal bool, err error) {
	now := time.Since(c.started)
	switch {
	// The timer has expired too late, so this process could not run for some time. A confirmation
	// may have arrived without having been read, so the wait starts again.
	case c.awaitsSign && c.server == "" && now-c.signDeadline > maxTimerDelay && now < c.timeout:
		c.inbox.extend(c.started, c.nextDeadline(now))
		return nil, false, nil
	case c.awaitsSign && c.server == "":
		c.plan.cancel(c.inbox.id)
		return nil, true, c.withFacts(errors.ErrNoResponse, errors.ReasonNoSign)
	// A server has confirmed the request, so only the timeout of the call remains.
	case c.awaitsSign:
		c.awaitsSign = false
		c.inbox.extend(c.started, c.timeout)
		return nil, false, nil
	default:
		return nil, true, c.contextError(context.DeadlineExceeded)
	}
}

// isFinal reports whether an error response ends the call. During the selection, most errors do not
// end the call, because another server may still claim the request. If the error is that the
// request is malformed, the call ends, because every server would report the same error.
func (c *unaryCall) isFinal(response *wire.Response) bool {
	return !c.selecting || response.Code == string(errors.MalformedRequest)
}

// onClaims passes new claims to c.claims. If this selects a server, onClaims grants the request to
// that server, unless the server is already handling it. If no more claims are expected, onClaims
// ends the selection.
func (c *unaryCall) onClaims(ctx context.Context, state *callState) error {
	if c.claims == nil {
		// This call needs no claims, but one has arrived. It may come from a psrpc server. A
		// dynpsrpc server sends one to announce that it is handling the request, or to decline it.
		// It declines, for example, if the broker has not assigned the request to it. If all
		// servers decline, the call ends.
		c.claims = selection.NewCollector(selection.Opts{AcceptFirstAvailable: true}, new(selection.Membership))
	}
	server, selected, complete := c.claims.Add(state.claims, state.receivers)
	switch {
	case selected && !c.inbox.requireClaim && isHandling(state.claims, server):
		c.server, c.handling, c.granted = server, true, time.Since(c.started)
		return nil
	case selected:
		return c.grant(ctx, server)
	case complete:
		return c.selectServer(ctx)
	}
	return nil
}

// isHandling reports whether a claim of the server says that the server is already handling the
// request. Such a server does not wait for a grant.
func isHandling(claims []wire.ClaimRequest, server string) bool {
	return slices.ContainsFunc(claims, func(claim wire.ClaimRequest) bool {
		return claim.Handling && string(claim.ServerID) == server
	})
}

// selectServer ends the selection. It grants the request to the server with the best claim so far.
// If no claim can be accepted, selectServer tells the servers not to wait for a grant, and returns
// an error. However, if only candidates were asked, it sends the request to all servers instead.
func (c *unaryCall) selectServer(ctx context.Context) error {
	state := c.inbox.snapshot()
	// Claims may have arrived since the last call to step.
	if server, selected, _ := c.claims.Add(state.claims, state.receivers); selected {
		return c.grant(ctx, server)
	}
	c.claims.UpdateMembership(state.claims, state.receivers)
	if c.candidates != nil && !c.claims.HasAcceptable() {
		return c.askAll(ctx)
	}
	server, err := c.claims.Choose()
	switch {
	case c.candidates != nil && err == nil && server == "":
		return c.askAll(ctx)
	case err != nil:
		c.giveUp()
		if _, coded := errors.AsType[errors.Error](err); !coded {
			err = errors.NewError(errors.Unavailable, err)
		}
		return c.withFacts(err, errors.ReasonAllDeclined)
	case server != "":
		return c.grant(ctx, server)
	case c.claims.HasSelectionFunc():
		// A grant with an empty server ID tells all servers that none of them has been selected.
		if err := c.grant(ctx, ""); err != nil {
			return err
		}
		err, _ := c.claims.Err()
		return c.withFacts(err, errors.ReasonAllDeclined)
	}
	c.giveUp()
	if state.isError() {
		return c.plan.serverError(state.failure, c.route)
	}
	return c.withFacts(c.claims.Err())
}

// giveUp tells the servers that the caller no longer waits for the response. If no server has been
// selected yet, the servers that have claimed the request drop it.
func (c *unaryCall) giveUp() {
	c.plan.cancel(c.inbox.id)
	if c.selecting {
		c.plan.selectNobody(c.route, c.inbox.id, c.inbox.snapshot().claims)
	}
}

// grant publishes the ID of the selected server to all servers that have received the request. The
// selected server then runs the request, and the others drop it. If no server has been selected,
// the ID is empty, and all servers drop the request.
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
	if c.candidates == nil {
		err = c.plan.engine.bus.Publish(ctx, c.route.grants, frame, &grantReport{c.inbox, c.inbox.id})
	}
	for _, candidate := range c.candidates {
		if err == nil {
			err = c.plan.engine.bus.Publish(ctx, bus.Channel(candidate.Channel), frame, &grantReport{c.inbox, c.inbox.id})
		}
	}
	if err != nil {
		return c.withFacts(transport.ClassifyError(err))
	}
	c.server, c.selecting, c.granted = server, false, time.Since(c.started)
	return nil
}

// responder returns the ID of the server that has answered. If no server has answered, it returns
// the ID of the server to which the request was granted, or "" if there is none.
func (c *unaryCall) responder() string {
	if state := c.inbox.snapshot(); state.answered {
		return string(state.server)
	}
	return c.server
}

// contextError returns the error of a call whose context or timeout ended before a response
// arrived. If the time ran out before any server had made an acceptable claim, the error says why.
// For example, it may be the error of a server that did not run the request.
func (c *unaryCall) contextError(err error) error {
	coded := errors.FromContext(err)
	switch {
	case coded.Code() == errors.Canceled, !c.sent:
		return c.withFacts(coded, transport.ContextReason(err))
	case c.server != "":
		return c.withFacts(coded, errors.ReasonClaimedButSilent)
	case c.selecting:
		if state := c.inbox.snapshot(); state.isError() {
			return c.plan.serverError(state.failure, c.route)
		}
		if c.claims.HasAcceptable() {
			// A server was available, but the timeout passed before the selection ended.
			return c.withFacts(coded, errors.ReasonDeadline)
		}
		return c.withFacts(c.claims.Err())
	default:
		return c.withFacts(coded, errors.ReasonSilent)
	}
}

// withFacts returns an error that wraps err and contains diagnostic facts about the call, including
// the reason why the call failed.
func (c *unaryCall) withFacts(err error, reason errors.Reason) error {
	facts := c.facts()
	facts.Reason = reason
	return errors.WithFacts(err, facts)
}

// ending returns how the call has ended. err is the call's error, or nil.
func (c *unaryCall) ending(err error) Ending {
	failed, _ := errors.FactsOf(err)
	end := Ending{Facts: c.facts()}
	end.Facts.Reason, end.Facts.ServerID = failed.Reason, c.responder()
	if !c.sent || !c.plan.method.RequireClaim() {
		return end
	}
	end.Server = cmp.Or(c.server, end.Facts.ServerID)
	switch {
	case c.server != "" && !c.handling:
		end.Outcome, end.Wait = Granted, c.granted-c.published
	case end.Server != "":
		end.Outcome = Skipped
	default:
		end.Outcome, end.Wait = unclaimed(failed.Reason), time.Since(c.started)-c.published
	}
	return end
}

// unclaimed returns the outcome of a call that failed before any server was selected or had
// answered. reason says why it failed.
func unclaimed(reason errors.Reason) Outcome {
	switch reason {
	case errors.ReasonAllDeclined, errors.ReasonBelowMinimum:
		return Declined
	case errors.ReasonCanceled, errors.ReasonClosed, errors.ReasonBusDown, errors.ReasonRefused, errors.ReasonTooLarge:
		return NoOutcome
	default:
		return TimedOut
	}
}

// facts returns the facts about the call at this time, without a reason.
func (c *unaryCall) facts() errors.CallFacts {
	elapsed := time.Since(c.started)
	facts := errors.CallFacts{
		Method: c.plan.method.FullName(), Topic: c.route.Topic, RequestID: string(c.inbox.id[:]), ServerID: c.server,
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
	return facts
}
