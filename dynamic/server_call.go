package dynamic

import (
	"context"
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/clockskew"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// serverCall is one request of a call. A goroutine of the server's worker pool handles it.
//
// serverCall copies the fields of the wire.Request that it needs, instead of keeping the request,
// so that the rest of the request can be collected while the handler runs. Both contexts are lazy
// and part of the struct: most handlers never use a Done channel or a timer, and creating these for
// every call made calls 1.4 times as slow and raised their allocations from 9 to 20.
type serverCall struct {
	endpoint *endpoint
	plan     *serverPlan
	// token counts the call in endpoint.inFlight.
	token  *lifecycle.Token
	client *clientEntry
	// context is the context of the handler.
	context lazyctx.Context
	// publishContext bounds how long publishing the response may take. It is separate because the
	// response is sent even if context has ended.
	publishContext lazyctx.Timeout
	// grant receives whether the client selected this server. It is nil if the call needs no grant.
	grant chan bool

	requestID []byte
	body      []byte
	metadata  map[string]string
	// sentAt is the Unix time in nanoseconds at which the client sent the request, by the client's
	// clock. It is 0 if unknown.
	sentAt int64

	// subscribers is the result of endpoint.subscribers when the request arrived.
	subscribers                 uint32
	acceptDirect, acceptDecline bool // as in the wire.Request
	// maybeExpired is true if the request looks expired and only the client can show that its clock
	// is wrong, see computeDeadline.
	maybeExpired bool
	// clockSkewed is true if the request showed that the client's clock is wrong.
	clockSkewed bool
}

// startServerCall decodes a request for e and starts a worker that serves it. token counts the
// request in e.inFlight. If startServerCall returns false, there is nothing to handle and the caller
// must return the token; otherwise the worker returns it. startServerCall never blocks.
//
// A request that needs no grant runs at once, so startServerCall drops a second delivery of it. A request
// with claims needs no such check: its client grants it once.
func startServerCall(e *endpoint, frame []byte, token *lifecycle.Token) bool {
	r := e.plan.registration
	request, ok := transport.Decode(
		frame, wire.KindRequest, r.server.options.maxFrameSize, wire.ParseRequest, &r.server.stats.badFrames)
	if !ok {
		return false
	}
	c := &serverCall{
		endpoint: e, plan: e.plan, token: token, client: r.clients.get(request.ClientID),
		requestID: request.RequestID, body: request.Body.Raw, metadata: request.Metadata, sentAt: request.SentAt,
		acceptDirect: request.AcceptDirect, acceptDecline: request.AcceptDecline,
	}
	c.context.Info = c
	c.context.Parent = r.ctx
	now := time.Now()
	if !c.computeDeadline(now, request.Expiry) {
		r.server.stats.expired.Add(1)
		return false
	}
	needsGrant := c.needsGrant(request.SkipClaim)
	if !needsGrant && r.server.requestDedup.Seen(0, c.requestID, c.sentAt, now) {
		r.server.stats.duplicated.Add(1)
		return false
	}
	c.subscribers = e.subscribers()
	c.grant = r.trackRequest(c.requestID, &c.context, needsGrant)
	if !r.server.workers.Go(c) {
		c.deregister()
		return false
	}
	return true
}

// deregister removes the request from the tables of the registration.
func (c *serverCall) deregister() {
	c.plan.registration.untrackRequest(c.requestID, &c.context, c.grant)
}

// requestInfo implements requestInfoProvider.
func (c *serverCall) requestInfo() RequestInfo {
	return newRequestInfo(c.client.id, c.sentAt, c.metadata)
}

// serve handles the request and sends the response. It sends one also after a panic of the handler,
// and after runtime.Goexit, which runs the deferred functions only: then answered is still false.
func (c *serverCall) serve() {
	defer c.endpoint.inFlight.Leave(c.token)
	defer c.deregister()
	defer c.context.Cancel()
	var frame []byte
	answered := false
	defer func() {
		if !answered {
			frame = c.panicFrame(recover())
		}
		if frame != nil {
			c.sendResponse(frame)
		}
	}()
	frame = c.handle()
	answered = true
}

// acquireLimits takes a slot of the concurrency limits of the server and of the method. It returns
// false if one of the limits is reached.
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

// releaseLimits returns the slots that acquireLimits took.
func (c *serverCall) releaseLimits() {
	c.plan.handler.semaphore.Release()
	c.plan.server.semaphore.Release()
}

// atLimit reports whether one of the concurrency limits is reached now.
func (c *serverCall) atLimit() bool {
	return c.plan.server.semaphore.Full() || c.plan.handler.semaphore.Full()
}

// handle runs the request and returns the frame of its response. The frame is nil if the server
// does not run the request, because the client selected another server or has gone.
func (c *serverCall) handle() []byte {
	request, err := c.plan.handler.decode(c.body)
	if err != nil {
		// As in psrpc, the error is sent without a claim: no server could decode this request.
		return c.errorFrame(errors.NewError(errors.MalformedRequest, err))
	}
	if c.sendsClaim() && !c.claim(request) {
		if c.maybeExpired {
			c.plan.server.stats.expired.Add(1)
		}
		return nil
	}
	c.confirmFresh()
	c.warnClockSkew()
	if !c.acquireLimits() {
		return c.errorFrame(Unprocessed(errors.NewErrorf(errors.ResourceExhausted,
			"method %s: server %s has reached its limit of concurrent requests",
			c.plan.method.FullName(), c.plan.server.ID())))
	}
	defer c.releaseLimits()
	response, err := c.endpoint.handle(&c.context, request)
	if err != nil {
		return c.errorFrame(c.mapKilled(err))
	}
	return c.responseFrame(response)
}

// mapKilled turns a handler's context.Canceled into unavailable if Kill canceled the handler's
// context. The code tells the client that the failure is the server's, and that another server may
// succeed.
func (c *serverCall) mapKilled(err error) error {
	_, coded := errors.AsType[errors.Error](err)
	if coded || c.plan.registration.ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return errors.NewErrorf(errors.Unavailable, "server %s was killed", c.plan.server.ID())
}

// needsGrant reports whether the server must wait for the client to select it before it runs the
// request.
//
// psrpc uses four messages for a call: request, claim, grant and response. For a queue method the
// bus has already selected the server, since it delivered the request to one server only. The claim
// and the grant then add a round trip and decide nothing. A dynpsrpc client therefore sets
// AcceptDirect and the call takes two messages. A psrpc client that sets SkipClaim still needs the
// claim, because it takes responses only from servers whose claim it has received, but no grant.
//
// A request that may have expired needs a grant in any case: the grant proves that its client is
// still waiting.
func (c *serverCall) needsGrant(skipClaim bool) bool {
	method := c.plan.method
	decided := method.Queue() && (c.acceptDirect || skipClaim) && !c.maybeExpired
	return method.RequireClaim() && !decided
}

// sendsClaim reports whether the server must send a claim before the response. A psrpc client
// ignores the response of a server whose claim it has not received, even if no grant is needed.
func (c *serverCall) sendsClaim() bool {
	return c.grant != nil || c.plan.method.RequireClaim() && !c.acceptDirect
}

// claim sends a claim to the client and reports whether the server may run the request: the client
// selected this server, or no grant is needed.
func (c *serverCall) claim(request wire.Body) bool {
	offer := claimOffer{
		plan:          c.plan,
		requestID:     c.requestID,
		grant:         c.grant,
		client:        c.client,
		subscribers:   c.subscribers,
		affinity:      func() float32 { return c.affinity(request) },
		acceptDecline: c.acceptDecline,
		closing:       c.endpoint.closing,
	}
	return offer.obtainGrant(&c.context)
}

// affinity returns the affinity of this server for the request. It is negative, which declines the
// request, while a concurrency limit is reached, so that a server with free capacity is selected.
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

// responseFrame returns the frame of a successful response. If the response cannot be encoded, it
// returns the frame of an error.
func (c *serverCall) responseFrame(body wire.Body) []byte {
	frame, err := c.encode(&wire.Response{Body: body})
	if err != nil {
		return c.errorFrame(errors.NewErrorf(errors.MalformedResponse,
			"cannot encode response of %s: %w", c.plan.method.FullName(), err))
	}
	return frame
}

// errorFrame returns the frame of an error response. It logs and leaves out details that cannot be
// encoded.
func (c *serverCall) errorFrame(cause error) []byte {
	code, text, details := errors.ToWire(cause)
	unprocessed := isMarkedUnprocessed(cause)
	frame, err := c.encode(&wire.Response{
		Code: string(code), Error: text, Details: details, Unprocessed: unprocessed,
	})
	if err != nil {
		c.plan.server.options.logger.Error("dynpsrpc: cannot encode error details",
			slog.String("method", c.plan.method.FullName()), slog.Any("error", err))
		frame, _ = c.encode(&wire.Response{Code: string(code), Error: text, Unprocessed: unprocessed})
	}
	return frame
}

// encode sets the fields that all responses have in common and returns the encoded frame. Only
// responses of MULTI methods state the number of subscribers: for other methods the claims state
// it.
func (c *serverCall) encode(response *wire.Response) ([]byte, error) {
	response.RequestID = c.requestID
	response.ServerID = c.plan.server.wireID
	response.SentAt = time.Now().UnixNano()
	if c.plan.method.Routing() == registry.RoutingMulti {
		response.Subscribers = c.subscribers
	}
	return response.AppendFrame(nil)
}

// panicFrame reports a panic and returns the frame of its error. The value of the panic is not part
// of the response, because it may reveal internals of the server.
func (c *serverCall) panicFrame(value any) []byte {
	c.plan.reportPanic(&c.context, "handler", value)
	return c.errorFrame(errors.NewErrorf(errors.Internal, "the handler of %s panicked", c.plan.method.FullName()))
}

// sendResponse publishes a response. If the frame is too large for the bus, it publishes an error
// instead, so that the client need not wait for its timeout.
func (c *serverCall) sendResponse(frame []byte) {
	server := c.plan.server
	c.publishContext.Limit = server.options.timeout
	defer c.publishContext.Cancel()
	err := server.publishToClient(&c.publishContext, c.plan.method, c.client.responses, frame)
	if errors.Is(err, bus.ErrFrameTooLarge) {
		// publishToClient logs the error.
		_ = server.publishToClient(&c.publishContext, c.plan.method, c.client.responses, c.tooLargeFrame(err))
	}
}

// tooLargeFrame returns the frame of the error that replaces a response over the bus's size limit.
func (c *serverCall) tooLargeFrame(err error) []byte {
	return c.errorFrame(errors.NewErrorf(errors.ResourceExhausted, "response of %s: %w", c.plan.method.FullName(), err))
}

// computeDeadline sets the deadline of the request by this server's clock, and reports whether it
// is in the future. expires is the deadline by the client's clock, as a Unix time in nanoseconds.
//
// A late request and a request of a client whose clock is slow look the same: both seem to have
// been sent too long ago. The delays of earlier requests of the client tell them apart,
// see [clockskew.Offset]. If there are none, the server claims a request of a method with claims
// and sets maybeExpired: a grant proves that the client still waits. For a method without claims it
// drops the request, as psrpc does.
func (c *serverCall) computeDeadline(now time.Time, expires int64) bool {
	sent, expiry := time.Unix(0, c.sentAt), time.Unix(0, expires)
	c.context.Expiry = expiry
	if c.sentAt == 0 || !sent.Before(expiry) {
		return now.Before(expiry)
	}
	delay, clock := now.Sub(sent), &c.client.clock
	if delay.Abs() <= clockskew.Tolerance && now.Before(expiry) {
		clock.Observe(now, delay)
		return true
	}
	minimum, known := clock.MinDelay(now)
	switch {
	case delay < 0:
		// A frame cannot arrive before it was sent, so the client's clock is fast.
		clock.Observe(now, delay)
		return c.applySkew(now, expiry, min(minimum, delay))
	case known && now.Before(expiry.Add(min(minimum, delay))):
		clock.Observe(now, delay)
		return c.applySkew(now, expiry, min(minimum, delay))
	case clock.ConfirmSuspect(now, sent, delay):
		return c.applySkew(now, expiry, delay)
	case now.Before(expiry):
		return true
	}
	c.maybeExpired = !known && c.plan.method.RequireClaim()
	c.context.Expiry = now.Add(expiry.Sub(sent))
	return c.maybeExpired
}

// applySkew sets the deadline for a client whose clock is slow by skew, or fast if skew is
// negative. It reports whether the deadline is in the future.
func (c *serverCall) applySkew(now, expiry time.Time, skew time.Duration) bool {
	c.context.Expiry = expiry.Add(skew)
	c.clockSkewed = skew.Abs() > clockskew.Tolerance
	return now.Before(c.context.Expiry)
}

// confirmFresh records the delay of a request that looked expired and was granted. The grant shows
// that the request is not late, so its delay is the error of the client's clock.
func (c *serverCall) confirmFresh() {
	if c.maybeExpired {
		now := time.Now()
		c.client.clock.Observe(now, now.Sub(time.Unix(0, c.sentAt)))
		c.clockSkewed = true
	}
}

// warnClockSkew logs a warning if the client's clock is wrong, once for each client.
func (c *serverCall) warnClockSkew() {
	if c.clockSkewed && c.client.clock.FirstWarning() {
		c.plan.server.options.logger.Warn("dynpsrpc: client clock is skewed",
			slog.String("client", c.client.id), slog.String("method", c.plan.method.FullName()))
	}
}
