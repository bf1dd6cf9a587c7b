package serve

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/tap"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// call is a request that the server has received, other than a request to open a stream. A
// goroutine of the server's worker pool handles it. A call copies the needed fields of the
// wire.Request, so that the rest can be garbage collected while the handler runs.
type call struct {
	requestBase

	// publishContext limits how long publishing the response may take. It is not derived from
	// context, because the response is sent even if context has ended.
	publishContext lazyctx.Timeout
	requestID      []byte
	// body is the encoded request message. It is nil once the message has been decoded.
	body     []byte
	metadata map[string]string

	// startedAt is the time at which the request arrived or, if the client selects a server, at
	// which the server began to handle the request. It is measured like announceAt, and is set only
	// if there is a recorder.
	startedAt int64
	// announceAt is the time at which the server announces to the client that it is handling the
	// request. It is measured in nanoseconds from the epoch of Engine.announcer, and is 0 if the
	// client expects no announcement.
	announceAt int64
	// size is the number of bytes that the request keeps in memory: the size of the frame or, if
	// that is more, of the decompressed message.
	size uint32
	// memory says whether size bytes are reserved in Engine.decompressed for the request.
	memory memoryState
	// acceptDirect reports whether the client accepts a response without a claim.
	acceptDirect bool
	// mayDecline reports whether the server may decline the request although it needs no claim.
	// This is the case if the client has sent the request to this server only, without knowing
	// whether the server is willing to handle it.
	mayDecline bool
	// started reports whether RecordStart has been called on the recorder.
	started bool
}

// memoryState says whether memory is reserved for a decompressed request. It is zero if the request
// was not compressed.
type memoryState uint8

const (
	// memoryReserved means that memory is reserved until the request ends.
	memoryReserved memoryState = iota + 1
	// memoryRefused means that there was no room for the request, so that it is not handled.
	memoryRefused
)

// startCall decodes a request for e and starts a worker that serves it, without blocking.
// unicast reports whether the request was sent to this server only. token is the result of
// e.inFlight.Enter. The worker passes it to Leave when it is done. If startCall returns
// false, it has dropped the request, and the caller must pass the token to Leave.
func startCall(e *endpoint, frame []byte, unicast bool, token *lifecycle.Token) bool {
	s := e.plan.service
	request, expanded, err := transport.Decode(
		frame, wire.KindRequest, s.engine.limits, wire.ParseRequest)
	if err != nil {
		s.engine.drops.AddBad(e.inbound.channel, err)
		return false
	}
	c := &call{
		requestBase: requestBase{
			endpoint: e, token: token, client: s.clients.get(request.ClientID), sentAt: request.SentAt,
			acceptDecline: request.AcceptDecline,
		},
		requestID: request.RequestID, body: request.Body.Raw, metadata: request.Metadata,
		acceptDirect: request.AcceptDirect || request.AnnounceAfter > 0,
	}
	c.context.Info = c
	c.context.Parent = s.ctx
	now := time.Now()
	if e.hasEvents() {
		e.emit(Event{Kind: RequestReceived, Peer: c.client.id})
	}
	if !c.computeDeadline(now, request.Expiry, e.plan.method.RequireClaim()) {
		e.dropExpired(c.client, now.Sub(time.Unix(0, request.Expiry)))
		return false
	}
	needsGrant := c.needsGrant(unicast, request.SkipClaim)
	c.mayDecline = unicast && !needsGrant && e.plan.method.RequireClaim() && !e.plan.method.Queue()
	if request.AnnounceAfter > 0 && !needsGrant {
		c.announceAt = s.engine.announcer.deadline(now, request.AnnounceAfter)
	}
	// Drop a request that the bus delivers a second time. A request that needs a grant requires no
	// such check, because the client selects a server only once.
	if !needsGrant && s.engine.requestDedup.Seen(0, c.requestID, c.sentAt, now) {
		s.engine.drops.Add(transport.DropDuplicated, transport.DroppedFrame{Method: e.plan.method, Peer: request.ClientID})
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
		c.startedAt = s.engine.announcer.since(now)
	}
	running := runningRequest{service: s, context: &c.context}
	if c.announceAt != 0 {
		running.unannounced = c
	}
	s.engine.running.add(c.requestID, running)
	if c.announceAt != 0 {
		s.engine.announcer.expect(c.announceAt)
	}
	if needsGrant {
		c.claim = s.engine.pendingClaims.register(
			c.requestID, c, e, max(len(frame), len(c.body)), c.context.Expiry)
	}
	if !s.engine.workers.Go(c) {
		c.deregister()
		return false
	}
	return true
}

// reserveMemory reserves memory for a decompressed request. If the memory for decompressed requests
// is used up, reserveMemory sets c.memory to memoryRefused.
func (c *call) reserveMemory() {
	if c.plan().engine.decompressed.TryTake(int(c.size)) {
		c.memory = memoryReserved
		return
	}
	c.memory, c.body = memoryRefused, nil
	c.plan().engine.drops.Add(transport.DropRefused, transport.DroppedFrame{
		Method: c.plan().method, Peer: []byte(c.client.id), Err: errDecompressionMemory,
	})
}

// errDecompressionMemory is the error in the log line about a request that reserveMemory refuses.
var errDecompressionMemory = errors.New("the server has reached its limit of memory for decompressed requests")

// deregister removes the request from the server's running requests and pending claims. It also
// releases the memory for the decompressed request.
func (c *call) deregister() {
	c.plan().engine.running.remove(c.requestID, &c.context)
	if c.claim != nil {
		c.plan().engine.pendingClaims.remove(c.claim)
	}
	if c.memory == memoryReserved {
		c.plan().engine.decompressed.Release(int(c.size))
	}
}

// finish releases everything that the request holds.
func (c *call) finish() {
	c.context.Cancel()
	c.deregister()
	c.endpoint.inFlight.Leave(c.token)
}

// grantDecided implements claimant.
func (c *call) grantDecided(granted bool) {
	c.granted = granted
	if !granted || !c.plan().engine.workers.Go(c) {
		c.countUngranted()
		c.finish()
	}
}

// RequestInfo implements transport.InfoProvider.
func (c *call) RequestInfo() transport.RequestInfo {
	return transport.NewRequestInfo(c.client.id, c.sentAt, c.endpoint.topic, c.metadata)
}

// serve handles the request and sends the response. If the handler panics or calls runtime.Goexit,
// serve sends an error response. The deferred function recognizes this because the variable
// answered is still false. If the client has not selected a server yet, serve returns early. It is
// called again once the client has selected this server.
func (c *call) serve() {
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
func (c *call) acquireLimits() bool {
	server, method := &c.plan().engine.semaphore, &c.plan().semaphore
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
func (c *call) releaseLimits() {
	c.plan().semaphore.Release()
	c.plan().engine.semaphore.Release()
}

// atLimit reports whether the concurrency limit of the server or of the method is currently
// reached.
func (c *call) atLimit() bool {
	return c.plan().engine.semaphore.Full() || c.plan().semaphore.Full()
}

// handle runs the handler and returns the frame of its response. The frame is nil if this server
// does not handle the request, for example because the client has selected another server. If the
// client has not selected a server yet, parked is true, and the handler has not run. The caller
// must then not use c any more, because another goroutine continues the call.
func (c *call) handle() (frame []byte, parked bool) {
	if c.granted {
		return c.run(c.claim.request), false
	}
	if c.claim != nil && c.plan().engine.pendingClaims.isRejected(c.claim) {
		// The request is neither decoded nor claimed. In a benchmark of in-process calls to one of
		// 30 servers, doing both on all servers takes 2.4 times as much CPU time.
		c.countUngranted()
		return nil, false
	}
	if c.memory == memoryRefused {
		return c.refuse(), false
	}
	request, err := c.plan().handler.Decode(c.body)
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

// refuse answers a request for which there was no memory. It returns the frame of the response, or
// nil if the server sends none.
func (c *call) refuse() (frame []byte) {
	switch {
	case c.sendsClaim():
		c.emitUnawaited(ClaimDeclined)
		c.plan().recordClaim(-1)
		// The server sends no claim, so that the client selects another server, which may have
		// enough memory for the request.
		return nil
	case c.mayDecline:
		c.decline()
		return nil
	default:
		c.emitUnawaited(ClaimSkipped)
		return c.refusalFrame(MarkUnprocessed(errors.NewErrorf(errors.ResourceExhausted,
			"method %s: server %s has reached its limit of memory for decompressed requests",
			c.plan().method.FullName(), c.plan().engine.ID)))
	}
}

// run runs the handler and returns the frame of its response.
func (c *call) run(request wire.Body) []byte {
	c.confirmFresh()
	c.warnIfSkewed()
	if report := c.plan().engine.tap.Load(); report != nil {
		return c.runTapped(report, request)
	}
	return c.runLimited(request)
}

// runLimited runs the handler unless a concurrency limit has been reached. It returns the frame of
// the response.
func (c *call) runLimited(request wire.Body) []byte {
	if !c.acquireLimits() {
		return c.errorFrame(MarkUnprocessed(errors.NewErrorf(errors.ResourceExhausted,
			"method %s: server %s has reached its limit of concurrent requests",
			c.plan().method.FullName(), c.plan().engine.ID)))
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
// context.Canceled because the server canceled its context, for example in Kill, the error has code
// unavailable. This tells the client that another server may succeed. In all other cases, mapKilled
// returns err.
func (c *call) mapKilled(err error) error {
	_, coded := errors.AsType[errors.Error](err)
	if coded || c.plan().service.ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return errors.NewErrorf(errors.Unavailable, "server %s was killed", c.plan().engine.ID)
}

// needsGrant reports whether the server must wait for the client to select it before it handles the
// request. It need not wait if the client has sent the request to this server only, or if the bus
// has chosen this server from a queue. A request that may have expired always needs a grant, which
// proves that the client is still waiting.
func (c *call) needsGrant(unicast, skipClaim bool) bool {
	method := c.plan().method
	// A dynpsrpc client that sets AnnounceAfter expects neither a claim nor a grant, which saves a
	// round trip. A psrpc client that sets SkipClaim sends no grant, but accepts a response only
	// after a claim.
	decided := unicast && c.acceptDirect || method.Queue() && (c.acceptDirect || skipClaim)
	return method.RequireClaim() && (!decided || c.maybeExpired)
}

// sendsClaim reports whether the server must send a claim before the response. Even if no grant is
// needed, a psrpc client ignores the response of a server whose claim it has not received.
func (c *call) sendsClaim() bool {
	return c.claim != nil || c.plan().method.RequireClaim() && !c.acceptDirect
}

// obtainGrant sends a claim if the client expects one. If mayDecline is set and this server is not
// willing to handle the request, it declines the request instead. granted reports whether the
// server may handle the request. If decided is false, the request waits for the client's decision.
// The caller must then not use c any more, because another goroutine continues the call.
func (c *call) obtainGrant(request wire.Body) (granted, decided bool) {
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
	return c.plan().engine.pendingClaims.park(c.claim)
}

// accepts reports whether this server handles a request for which mayDecline is set. It returns
// false if the affinity is negative or if the context of the call has ended, for example because
// the client has canceled the request.
func (c *call) accepts(request wire.Body) bool {
	affinity := c.plan().callAffinity(&c.context, func() float32 { return c.affinity(request) })
	return !(affinity < 0) && c.context.Err() == nil
}

// decline tells the client that this server does not handle the request.
func (c *call) decline() {
	c.emitUnawaited(ClaimDeclined)
	if report := c.plan().engine.tap.Load(); report != nil {
		t := c.traffic(tap.Decline)
		t.Affinity = -1
		report(t)
	}
	c.plan().recordClaim(-1)
	declined := declinedRequest{
		engine: c.plan().engine, method: c.plan().method, client: c.client,
		claim: wire.ClaimRequest{
			RequestID: c.requestID, ServerID: c.plan().engine.wireID, Affinity: -1, Declined: true, Subscribers: c.subscribers,
		},
	}
	declined.serve()
}

// emitUnawaited emits an event about a request that the server handles or declines without waiting
// to be selected. If the server does wait, or if the method requires no claim, it does nothing.
func (c *call) emitUnawaited(outcome ClaimOutcome) {
	if c.claim == nil && c.plan().method.RequireClaim() && c.endpoint.hasEvents() {
		c.endpoint.emit(Event{Kind: ClaimDecided, Peer: c.client.id, Outcome: outcome})
	}
}

// sendClaim sends a claim. It returns false if the claim declines the request or could not be sent.
func (c *call) sendClaim(request wire.Body) bool {
	offer := claimOffer{
		plan:          c.plan(),
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

// affinity returns the affinity of this server for the request. While a concurrency limit is
// reached, the affinity is negative. The server then declines the request, so that the client
// selects another server.
func (c *call) affinity(request wire.Body) float32 {
	switch {
	case c.atLimit():
		return -1
	case c.plan().handler.Affinity == nil:
		return 1
	default:
		return c.plan().handler.Affinity(&c.context, request)
	}
}

// responseFrame returns the frame of a successful response, or the frame of an error response if
// body cannot be encoded.
func (c *call) responseFrame(body wire.Body) []byte {
	frame, at, err := c.encode(&wire.Response{Body: body})
	if err != nil {
		return c.errorFrame(errors.NewErrorf(errors.MalformedResponse,
			"cannot encode response of %s: %w", c.plan().method.FullName(), err))
	}
	if c.recorder != nil {
		c.recordEnd(frame, at, CallEnd{})
	}
	return frame
}

// errorFrame returns the frame of an error response. Error details that cannot be encoded are
// logged and omitted from the response.
func (c *call) errorFrame(cause error) []byte {
	code, text, details := errors.ToWire(cause)
	unprocessed := isUnprocessed(cause)
	frame, at, err := c.encode(&wire.Response{
		Code: string(code), Error: text, Details: details, Unprocessed: unprocessed,
	})
	if err != nil {
		c.plan().engine.Logger.Error("dynpsrpc: cannot encode error details",
			slog.String("method", c.plan().method.FullName()), slog.Any("error", err))
		frame, at, _ = c.encode(&wire.Response{Code: string(code), Error: text, Unprocessed: unprocessed})
	}
	if c.recorder != nil {
		notRun := unprocessed || !c.started || c.plan().handler.Missing
		c.recordEnd(frame, at, CallEnd{Code: code, Text: text, Unprocessed: notRun})
	}
	return frame
}

// encode sets the fields that all responses have in common. It returns the encoded frame and the
// time of sending that the frame contains. The number of subscribers is set only for MULTI methods.
// For other methods, it is part of the claims.
func (c *call) encode(response *wire.Response) (frame []byte, at time.Time, err error) {
	response.RequestID = c.requestID
	response.ServerID = c.plan().engine.wireID
	at = time.Now()
	response.SentAt = at.UnixNano()
	if c.plan().method.Routing() == registry.RoutingMulti {
		response.Subscribers = c.subscribers
	}
	frame, err = response.AppendFrame(nil)
	return frame, at, err
}

// recordStart records that the server begins to handle the request.
func (c *call) recordStart() {
	if c.recorder == nil {
		return
	}
	if c.claim != nil {
		c.startedAt = c.plan().engine.announcer.since(time.Now())
	}
	c.started = true
	(*c.recorder).RecordStart()
}

// recordEnd records the end of the call. frame is the response, and at is the time of the end. The
// caller must check that there is a recorder. recordEnd then removes it, so that nothing is
// recorded twice if a shorter response replaces this one; see sendResponse.
func (c *call) recordEnd(frame []byte, at time.Time, end CallEnd) {
	if !c.started {
		(*c.recorder).RecordStart()
	}
	end.Time, end.Duration = at, time.Duration(c.plan().engine.announcer.since(at)-c.startedAt)
	end.RequestBytes, end.ResponseBytes = int(c.size), len(frame)
	(*c.recorder).RecordEnd(end)
	c.recorder = nil
}

// panicFrame reports a panic and returns the frame of an error response. The panic value is not
// included in the response, because it might reveal internals of the server.
func (c *call) panicFrame(value any) []byte {
	c.plan().reportPanic(&c.context, "handler", value)
	return c.errorFrame(errors.NewErrorf(errors.Internal, "the handler of %s panicked", c.plan().method.FullName()))
}

// sendResponse publishes a response. If the frame is too large for the bus, sendResponse publishes
// a short error instead. The client then does not have to wait until its timeout expires.
func (c *call) sendResponse(frame []byte) {
	engine := c.plan().engine
	c.publishContext.Limit = engine.Timeout
	defer c.publishContext.Cancel()
	err := engine.publishToClient(&c.publishContext, c.plan().method, c.client.responses, frame)
	if errors.Is(err, bus.ErrFrameTooLarge) {
		// If the second attempt fails too, publishToClient has already logged the error.
		_ = engine.publishToClient(&c.publishContext, c.plan().method, c.client.responses, c.tooLargeFrame(frame, err))
	}
}

// tooLargeFrame returns an error response that replaces a response whose frame is too large for the
// bus. If the response was an error, its code is kept, its text is shortened, and its details are
// left out. tooLarge is the error that the bus returned.
func (c *call) tooLargeFrame(frame []byte, tooLarge error) []byte {
	replacement := errors.NewErrorf(
		errors.ResourceExhausted, "response of %s: %w", c.plan().method.FullName(), tooLarge)
	if envelope, err := wire.ParseEnvelope(frame); err == nil {
		response, err := wire.ParseResponse(envelope.Value)
		if err == nil && response.Error != "" {
			text := transport.ShortenError(response.Error, replacement)
			replacement = errors.NewErrorf(errors.ErrorCode(response.Code), "%s", text)
			if response.Unprocessed {
				return c.errorFrame(MarkUnprocessed(replacement))
			}
		}
	}
	return c.errorFrame(replacement)
}
