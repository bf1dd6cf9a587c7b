package dynamic

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// serverCall is a request that the server has received, other than a request to open a stream. A
// goroutine of the server's worker pool handles it. It copies the needed fields of the
// wire.Request, so that the rest can be garbage collected while the handler runs.
type serverCall struct {
	endpoint *endpoint
	plan     *serverPlan
	// token is the value that endpoint.inFlight.Enter returned for this request. It must be passed
	// to Leave when the request has ended.
	token *lifecycle.Token
	requestClock
	// context is the context passed to the handler. Like publishContext, it creates a channel and a
	// timer only on demand, because most handlers need neither. Otherwise, a call would take 1.4
	// times as long and make 20 instead of 9 allocations.
	context lazyctx.Context
	// publishContext limits how long publishing the response may take. It is not derived from
	// context, because the response is sent even if context has ended.
	publishContext lazyctx.Timeout
	// claim is the entry of the request among the server's pending claims. It is nil if the server
	// may handle the request without being selected by the client.
	claim     *pendingClaim
	requestID []byte
	// body is the encoded request message. It is nil once the message has been decoded.
	body     []byte
	metadata map[string]string

	// subscribers is the number of servers, including this one, that shared this server's
	// subscription when the request arrived. It is 0 if there was no sharing, and for queue
	// methods. Clients need the number, because the bus counts these servers as one receiver.
	subscribers uint32
	// size is the number of bytes that the request keeps in memory: the size of the frame or, if
	// that is more, of the decompressed message.
	size uint32
	// recorder records the call. It is nil if the method has no recorder, or if the end of the call
	// has been recorded.
	recorder *MethodRecorder
	// startedAt is the time at which the request arrived or, if the client selects a server, at
	// which the server began to handle the request. It is measured like announceAt, and is set only
	// if there is a recorder.
	startedAt int64
	// announceAt is the time at which the server announces to the client that it is handling the
	// request. It is measured in nanoseconds from the epoch of Server.announcer, and is 0 if the
	// client expects no announcement.
	announceAt int64
	// acceptDirect reports whether the client accepts a response without a claim. acceptDecline
	// reports whether the client understands claims that decline a request.
	acceptDirect, acceptDecline bool
	// mayDecline reports whether the server may decline the request although it needs no claim.
	// This is the case if the client has sent the request to this server only, without knowing
	// whether the server is willing to handle it.
	mayDecline bool
	// granted reports whether the client has selected this server.
	granted bool
	// started reports whether the recorder has been told that the server handles the request.
	started bool
	// reserved reports whether size bytes are reserved in Server.decompressed for the request.
	reserved bool
	// refused reports whether Server.decompressed had no room for the request.
	refused bool
}

// startServerCall decodes a request for e and starts a worker that serves it, without blocking.
// unicast reports whether the request was sent to this server only. token is the result of
// e.inFlight.Enter. The worker passes it to Leave when it is done. If startServerCall returns
// false, it has dropped the request, and the caller must pass the token to Leave.
func startServerCall(e *endpoint, frame []byte, unicast bool, token *lifecycle.Token) bool {
	r := e.plan.registration
	request, expanded, err := transport.Decode(
		frame, wire.KindRequest, r.server.options.decompression(), wire.ParseRequest)
	if err != nil {
		r.server.drops.addBad(e.inbound.channel, err)
		return false
	}
	c := &serverCall{
		endpoint: e, plan: e.plan, token: token,
		requestClock: requestClock{client: r.clients.get(request.ClientID), sentAt: request.SentAt},
		requestID:    request.RequestID, body: request.Body.Raw, metadata: request.Metadata,
		acceptDirect: request.AcceptDirect || request.AnnounceAfter > 0, acceptDecline: request.AcceptDecline,
	}
	c.context.Info = c
	c.context.Parent = r.ctx
	now := time.Now()
	if e.hasEvents() {
		e.emit(RequestEvent{Kind: RequestReceived, Peer: c.client.id})
	}
	if !c.computeDeadline(now, request.Expiry, &c.context, e.plan.method.RequireClaim()) {
		e.dropExpired(c.client, now.Sub(time.Unix(0, request.Expiry)))
		return false
	}
	needsGrant := c.needsGrant(unicast, request.SkipClaim)
	c.mayDecline = unicast && !needsGrant && e.plan.method.RequireClaim() && !e.plan.method.Queue()
	if request.AnnounceAfter > 0 && !needsGrant {
		c.announceAt = r.server.announcer.deadline(now, request.AnnounceAfter)
	}
	// Drop a request that the bus delivers a second time. A request that needs a grant requires no
	// such check, because the client selects a server only once.
	if !needsGrant && r.server.requestDedup.Seen(0, c.requestID, c.sentAt, now) {
		r.server.drops.add(dropDuplicated, droppedFrame{method: e.plan.method, peer: request.ClientID})
		return false
	}
	c.subscribers = e.subscribers()
	c.size = uint32(max(len(frame), expanded)) //nolint:gosec // no frame is larger
	if c.size > largeFrame {
		// The request ID is copied, so that the frame can be freed as soon as c.body is nil.
		c.requestID = bytes.Clone(c.requestID)
	}
	if expanded > 0 {
		c.reserveMemory()
	}
	if c.recorder = e.plan.recorder.Load(); c.recorder != nil {
		c.startedAt = r.server.announcer.since(now)
	}
	running := runningRequest{registration: r, context: &c.context}
	if c.announceAt != 0 {
		running.unannounced = c
	}
	r.server.running.add(c.requestID, running)
	if c.announceAt != 0 {
		r.server.announcer.expect(c.announceAt)
	}
	if needsGrant {
		c.claim = r.server.pendingClaims.register(
			c.requestID, c, e, max(len(frame), len(c.body)), c.context.Expiry)
	}
	if !r.server.workers.Go(c) {
		c.deregister()
		return false
	}
	return true
}

// reserveMemory reserves memory for a decompressed request. If the memory for decompressed requests
// is used up, reserveMemory sets c.refused.
func (c *serverCall) reserveMemory() {
	if c.reserved = c.plan.server.decompressed.TryTake(int(c.size)); c.reserved {
		return
	}
	c.refused, c.body = true, nil
	c.plan.server.drops.add(dropRefused, droppedFrame{
		method: c.plan.method, peer: []byte(c.client.id), err: errDecompressionMemory,
	})
}

// errDecompressionMemory is the error in the log line about a request that reserveMemory refuses.
var errDecompressionMemory = errors.New("the server has reached its limit of memory for decompressed requests")

// deregister removes the request from the server's running requests and pending claims. It also
// releases the memory for the decompressed request.
func (c *serverCall) deregister() {
	c.plan.server.running.remove(c.requestID, &c.context)
	if c.claim != nil {
		c.plan.server.pendingClaims.remove(c.claim)
	}
	if c.reserved {
		c.plan.server.decompressed.Release(int(c.size))
	}
}

// finish releases everything that the request holds.
func (c *serverCall) finish() {
	c.context.Cancel()
	c.deregister()
	c.endpoint.inFlight.Leave(c.token)
}

// grantDecided implements claimant.
func (c *serverCall) grantDecided(granted bool) {
	c.granted = granted
	if !granted || !c.plan.server.workers.Go(c) {
		c.countUngranted()
		c.finish()
	}
}

// requestInfo implements requestInfoProvider.
func (c *serverCall) requestInfo() RequestInfo {
	return newRequestInfo(c.client.id, c.sentAt, c.endpoint.topic, c.metadata)
}

// serve handles the request and sends the response. If the handler panics or calls runtime.Goexit,
// serve sends an error response. The deferred function recognizes this because the variable
// answered is still false. If the client has not selected a server yet, serve returns early. It is
// called again once the client has selected this server.
func (c *serverCall) serve() {
	var frame []byte
	answered, parked := false, false
	defer func() {
		if parked {
			// The client has not selected a server yet. Another goroutine may already be using c.
			return
		}
		defer c.finish()
		if !answered {
			frame = c.panicFrame(recover())
		}
		if frame != nil {
			c.sendResponse(frame)
		}
	}()
	frame, parked = c.handle()
	answered = true
}

// acquireLimits counts the request towards the concurrency limits of the server and of the method.
// It returns false if either limit has been reached.
func (c *serverCall) acquireLimits() bool {
	server, method := &c.plan.server.semaphore, &c.plan.handler.semaphore
	if !server.TryAcquire() {
		return false
	}
	if !method.TryAcquire() {
		server.Release()
		return false
	}
	return true
}

// releaseLimits undoes acquireLimits.
func (c *serverCall) releaseLimits() {
	c.plan.handler.semaphore.Release()
	c.plan.server.semaphore.Release()
}

// atLimit reports whether the concurrency limit of the server or of the method is currently
// reached.
func (c *serverCall) atLimit() bool {
	return c.plan.server.semaphore.Full() || c.plan.handler.semaphore.Full()
}

// handle runs the handler and returns the frame of its response. The frame is nil if this server
// does not handle the request, for example because the client has selected another server. If the
// client has not selected a server yet, handle returns true without having run the handler. The
// caller must then not use c any more, because another goroutine continues the call.
func (c *serverCall) handle() (frame []byte, parked bool) {
	if c.granted {
		return c.run(c.claim.request), false
	}
	if c.claim != nil && c.plan.server.pendingClaims.isRejected(c.claim) {
		// The request is neither decoded nor claimed. In a benchmark of in-process calls to one of
		// 30 servers, doing both on all servers takes 2.4 times as much CPU time.
		c.countUngranted()
		return nil, false
	}
	if c.refused && c.sendsClaim() {
		c.emitUnawaited(ClaimDeclined)
		c.plan.recordClaim(-1)
		// The server sends no claim, so that the client selects another server, which may have
		// enough memory for the request.
		return nil, false
	}
	if c.refused && c.mayDecline {
		c.decline()
		return nil, false
	}
	if c.refused {
		c.emitUnawaited(ClaimSkipped)
		return c.refusalFrame(Unprocessed(errors.NewErrorf(errors.ResourceExhausted,
			"method %s: server %s has reached its limit of memory for decompressed requests",
			c.plan.method.FullName(), c.plan.server.ID()))), false
	}
	request, err := c.plan.handler.decode(c.body)
	if err != nil {
		// No other server could decode this request either, so the error is sent without a claim,
		// as in psrpc.
		c.emitUnawaited(ClaimSkipped)
		return c.refusalFrame(errors.NewError(errors.MalformedRequest, err)), false
	}
	c.body = nil
	switch granted, decided := c.obtainGrant(request); {
	case !decided:
		return nil, true
	case !granted:
		c.countUngranted()
		return nil, false
	}
	return c.run(request), false
}

// run runs the handler and returns the frame of its response.
func (c *serverCall) run(request wire.Body) []byte {
	c.confirmFresh()
	c.warnIfSkewed(c.plan)
	if tap := c.plan.server.tap.Load(); tap != nil {
		return c.runTapped(*tap, request)
	}
	return c.runLimited(request)
}

// runLimited runs the handler unless a concurrency limit has been reached. It returns the frame of
// the response.
func (c *serverCall) runLimited(request wire.Body) []byte {
	if !c.acquireLimits() {
		return c.errorFrame(Unprocessed(errors.NewErrorf(errors.ResourceExhausted,
			"method %s: server %s has reached its limit of concurrent requests",
			c.plan.method.FullName(), c.plan.server.ID())))
	}
	defer c.releaseLimits()
	c.recordStart()
	response, err := c.endpoint.handle(&c.context, request)
	if err != nil {
		return c.errorFrame(c.mapKilled(err))
	}
	return c.responseFrame(response)
}

// mapKilled returns the error to send if a handler has returned err. If the handler has returned
// context.Canceled because of a call to Kill, the error has code unavailable. This tells the client
// that another server may succeed. In all other cases, mapKilled returns err.
func (c *serverCall) mapKilled(err error) error {
	_, coded := errors.AsType[errors.Error](err)
	if coded || c.plan.registration.ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return errors.NewErrorf(errors.Unavailable, "server %s was killed", c.plan.server.ID())
}

// needsGrant reports whether the server must wait for the client to select it before it handles the
// request. It need not if this server has been selected already: the client has sent the request to
// it only, or the bus has, because the method is a queue. A request that may have expired always
// needs a grant, which proves that the client is still waiting.
func (c *serverCall) needsGrant(unicast, skipClaim bool) bool {
	method := c.plan.method
	// A dynpsrpc client that sets AnnounceAfter expects neither a claim nor a grant, which saves a
	// round trip. A psrpc client that sets SkipClaim sends no grant, but accepts a response only
	// after a claim.
	decided := unicast && c.acceptDirect || method.Queue() && (c.acceptDirect || skipClaim)
	return method.RequireClaim() && (!decided || c.maybeExpired)
}

// sendsClaim reports whether the server must send a claim before the response. Even if no grant is
// needed, a psrpc client ignores the response of a server whose claim it has not received.
func (c *serverCall) sendsClaim() bool {
	return c.claim != nil || c.plan.method.RequireClaim() && !c.acceptDirect
}

// obtainGrant sends a claim if the client expects one. If mayDecline is set and this server is not
// willing to handle the request, it declines the request instead. granted reports whether the
// server may handle the request. If decided is false, the request waits for the client's decision.
// The caller must then not use c any more, because another goroutine continues the call.
func (c *serverCall) obtainGrant(request wire.Body) (granted, decided bool) {
	switch {
	case c.mayDecline && !c.accepts(request):
		c.decline()
		return false, true
	case c.sendsClaim() && !c.sendClaim(request):
		c.emitUnawaited(ClaimDeclined)
		return false, true
	case c.claim == nil:
		c.emitUnawaited(ClaimSkipped)
		return true, true
	}
	c.claim.request = request
	return c.plan.server.pendingClaims.park(c.claim)
}

// accepts reports whether this server handles a request for which mayDecline is set. It returns
// false if the affinity is negative or if the context of the call has ended, for example because
// the client has canceled the request.
func (c *serverCall) accepts(request wire.Body) bool {
	affinity := c.plan.callAffinity(&c.context, func() float32 { return c.affinity(request) })
	return !(affinity < 0) && c.context.Err() == nil
}

// decline tells the client that this server does not handle the request.
func (c *serverCall) decline() {
	c.emitUnawaited(ClaimDeclined)
	if tap := c.plan.server.tap.Load(); tap != nil {
		t := c.traffic(TrafficDecline)
		t.Affinity = -1
		(*tap)(t)
	}
	c.plan.recordClaim(-1)
	declined := declinedRequest{
		server: c.plan.server, method: c.plan.method, client: c.client,
		claim: wire.ClaimRequest{
			RequestID: c.requestID, ServerID: c.plan.server.wireID, Affinity: -1, Declined: true, Subscribers: c.subscribers,
		},
	}
	declined.serve()
}

// emitUnawaited emits an event about a request that the server handles or declines without waiting
// to be selected. If the server does wait, or if the method requires no claim, it does nothing.
func (c *serverCall) emitUnawaited(outcome ClaimOutcome) {
	if c.claim == nil && c.plan.method.RequireClaim() && c.endpoint.hasEvents() {
		c.endpoint.emit(RequestEvent{Kind: ClaimDecided, Peer: c.client.id, Outcome: outcome})
	}
}

// sendClaim sends a claim. It returns false if the claim declines the request or could not be sent.
func (c *serverCall) sendClaim(request wire.Body) bool {
	offer := claimOffer{
		plan:          c.plan,
		topic:         c.endpoint.topic,
		requestID:     c.requestID,
		needsGrant:    c.claim != nil,
		client:        c.client,
		subscribers:   c.subscribers,
		affinity:      func() float32 { return c.affinity(request) },
		acceptDecline: c.acceptDecline,
	}
	return offer.send(&c.context)
}

// countUngranted counts the request as expired if it looked expired when it arrived. It is called
// if the client has not selected this server.
func (c *serverCall) countUngranted() {
	if c.maybeExpired {
		c.endpoint.dropExpired(c.client, 0)
	}
}

// affinity returns the affinity of this server for the request. While a concurrency limit is
// reached, the affinity is negative. The server then declines the request, so that the client
// selects another server.
func (c *serverCall) affinity(request wire.Body) float32 {
	switch {
	case c.atLimit():
		return -1
	case c.plan.handler.affinity == nil:
		return 1
	default:
		return c.plan.handler.affinity(&c.context, request)
	}
}

// responseFrame returns the frame of a successful response, or the frame of an error response if
// body cannot be encoded.
func (c *serverCall) responseFrame(body wire.Body) []byte {
	frame, at, err := c.encode(&wire.Response{Body: body})
	if err != nil {
		return c.errorFrame(errors.NewErrorf(errors.MalformedResponse,
			"cannot encode response of %s: %w", c.plan.method.FullName(), err))
	}
	if c.recorder != nil {
		c.recordEnd(frame, at, CallEnd{})
	}
	return frame
}

// errorFrame returns the frame of an error response. Error details that cannot be encoded are
// logged and omitted from the response.
func (c *serverCall) errorFrame(cause error) []byte {
	code, text, details := errors.ToWire(cause)
	unprocessed := isMarkedUnprocessed(cause)
	frame, at, err := c.encode(&wire.Response{
		Code: string(code), Error: text, Details: details, Unprocessed: unprocessed,
	})
	if err != nil {
		c.plan.server.options.logger.Error("dynpsrpc: cannot encode error details",
			slog.String("method", c.plan.method.FullName()), slog.Any("error", err))
		frame, at, _ = c.encode(&wire.Response{Code: string(code), Error: text, Unprocessed: unprocessed})
	}
	if c.recorder != nil {
		notRun := unprocessed || !c.started || c.plan.handler.missing
		c.recordEnd(frame, at, CallEnd{Code: code, Text: text, Unprocessed: notRun})
	}
	return frame
}

// encode sets the fields that all responses have in common. It returns the encoded frame and the
// time that the frame contains. The number of subscribers is set only for MULTI methods. For other
// methods, it is part of the claims.
func (c *serverCall) encode(response *wire.Response) (frame []byte, at time.Time, err error) {
	response.RequestID = c.requestID
	response.ServerID = c.plan.server.wireID
	at = time.Now()
	response.SentAt = at.UnixNano()
	if c.plan.method.Routing() == registry.RoutingMulti {
		response.Subscribers = c.subscribers
	}
	frame, err = response.AppendFrame(nil)
	return frame, at, err
}

// recordStart records that the server begins to handle the request.
func (c *serverCall) recordStart() {
	if c.recorder == nil {
		return
	}
	if c.claim != nil {
		c.startedAt = c.plan.server.announcer.since(time.Now())
	}
	c.started = true
	(*c.recorder).RecordStart()
}

// recordEnd records the end of the call. frame is the response, and at is the time of the end.
// Further calls do nothing, because the response may be replaced by a shorter one; see
// sendResponse. The caller must check that there is a recorder.
func (c *serverCall) recordEnd(frame []byte, at time.Time, end CallEnd) {
	if !c.started {
		(*c.recorder).RecordStart()
	}
	end.Time, end.Duration = at, time.Duration(c.plan.server.announcer.since(at)-c.startedAt)
	end.RequestBytes, end.ResponseBytes = int(c.size), len(frame)
	(*c.recorder).RecordEnd(end)
	c.recorder = nil
}

// panicFrame reports a panic and returns the frame of an error response. The panic value is not
// included in the response, because it might reveal internals of the server.
func (c *serverCall) panicFrame(value any) []byte {
	c.plan.reportPanic(&c.context, "handler", value)
	return c.errorFrame(errors.NewErrorf(errors.Internal, "the handler of %s panicked", c.plan.method.FullName()))
}

// sendResponse publishes a response. If the frame is too large for the bus, sendResponse publishes
// a short error instead. The client then does not have to wait until its timeout expires.
func (c *serverCall) sendResponse(frame []byte) {
	server := c.plan.server
	c.publishContext.Limit = server.options.timeout
	defer c.publishContext.Cancel()
	err := server.publishToClient(&c.publishContext, c.plan.method, c.client.responses, frame)
	if errors.Is(err, bus.ErrFrameTooLarge) {
		// If the second attempt fails too, publishToClient has already logged the error.
		_ = server.publishToClient(&c.publishContext, c.plan.method, c.client.responses, c.tooLargeFrame(frame, err))
	}
}

// tooLargeFrame returns an error response that replaces a response whose frame is too large for the
// bus. If the response was an error, its code is kept, its text is shortened, and its details are
// left out. tooLarge is the error that the bus returned.
func (c *serverCall) tooLargeFrame(frame []byte, tooLarge error) []byte {
	replacement := errors.NewErrorf(
		errors.ResourceExhausted, "response of %s: %w", c.plan.method.FullName(), tooLarge)
	if envelope, err := wire.ParseEnvelope(frame); err == nil {
		response, err := wire.ParseResponse(envelope.Value)
		if err == nil && response.Error != "" {
			text := transport.ShortenError(response.Error, replacement)
			replacement = errors.NewErrorf(errors.ErrorCode(response.Code), "%s", text)
			if response.Unprocessed {
				return c.errorFrame(Unprocessed(replacement))
			}
		}
	}
	return c.errorFrame(replacement)
}
