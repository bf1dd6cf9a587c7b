package dynamic

import (
	"context"
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/clockskew"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// serverCall is one request being served, by a goroutine of its own.
//
// Of the wire.Request it keeps only what is needed until the answer, so that there is less memory to collect.
type serverCall struct {
	endpoint       *endpoint
	plan           *serverPlan
	token          *lifecycle.Token // in the listener's gate
	client         *clientEntry     // the client
	context        lazyctx.Context
	publishContext lazyctx.Timeout // bounds the publication of the response
	grant          chan bool       // the client's choice; nil if there is none to wait for

	requestID []byte
	body      []byte
	metadata  map[string]string
	sentAt    int64 // Unix time in nanoseconds by the client's clock, 0 if it did not say

	subscribers                 uint32 // servers that the bus counts as one receiver, when the request came; 0 for one
	acceptDirect, acceptDecline bool   // as in the wire.Request
	maybeExpired                bool   // it seems to have expired, but the client's clock may be wrong
	clockSkewed                 bool   // the client's clock was found to be wrong
}

// deregister ends what the server does for the request.
func (c *serverCall) deregister() {
	c.plan.registration.untrackRequest(c.requestID, &c.context, c.grant)
}

// requestInfo returns what a handler can ask for.
func (c *serverCall) requestInfo() RequestInfo {
	return newRequestInfo(c.client.id, c.sentAt, c.metadata)
}

func (c *serverCall) serve() {
	defer c.endpoint.inFlight.Leave(c.token)
	defer c.deregister()
	defer c.context.Cancel()
	var frame []byte
	answered := false
	defer func() {
		if !answered { // a panic, or runtime.Goexit
			frame = c.panicFrame(recover())
		}
		if frame != nil {
			c.sendResponse(frame)
		}
	}()
	frame = c.handle()
	answered = true
}

// acquireLimits reports whether the limits of the server and of the method leave room.
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

func (c *serverCall) releaseLimits() {
	c.plan.handler.semaphore.Release()
	c.plan.server.semaphore.Release()
}

// atLimit tells whether the limits leave no room at the moment.
func (c *serverCall) atLimit() bool {
	return c.plan.server.semaphore.Full() || c.plan.handler.semaphore.Full()
}

// handle runs the request and returns the frame of its response, or nil if another server has it.
func (c *serverCall) handle() []byte {
	request, err := c.plan.handler.decode(c.body)
	if err != nil { // at once and without a claim, as psrpc does
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
			"server %s handles as many requests of %s as it may", c.plan.server.ID(), c.plan.method.FullName())))
	}
	defer c.releaseLimits()
	response, err := c.endpoint.handle(&c.context, request)
	if err != nil {
		return c.errorFrame(c.mapKilled(err))
	}
	return c.responseFrame(response)
}

// mapKilled says of a handler that gave up because its server was killed that another server may do better.
func (c *serverCall) mapKilled(err error) error {
	_, coded := errors.AsType[errors.Error](err)
	if coded || c.plan.registration.ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return errors.NewErrorf(errors.Unavailable, "server %s was killed", c.plan.server.ID())
}

// needsGrant tells whether the client chooses among servers. One that takes a direct answer, or can do without the
// grant, leaves the choice of a queue to the bus, which has made it already.
func (c *serverCall) needsGrant(skipClaim bool) bool {
	method := c.plan.method
	decided := method.Queue() && (c.acceptDirect || skipClaim) && !c.maybeExpired
	return method.RequireClaim() && !decided
}

// sendsClaim tells whether the client is to hear of this server before the answer. psrpc's clients take none from a server
// that they do not know, even if it needs no grant.
func (c *serverCall) sendsClaim() bool {
	return c.grant != nil || c.plan.method.RequireClaim() && !c.acceptDirect
}

// claim offers this server to the client and reports whether the request may run: the client chose this
// server, or has nothing to choose.
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

// affinity returns how well this server suits the request. It is negative, which declines the request,
// while the limits of the server or the method are reached, since another server may have room.
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

func (c *serverCall) responseFrame(body wire.Body) []byte {
	frame, err := c.encode(&wire.Response{Body: body})
	if err != nil {
		return c.errorFrame(errors.NewErrorf(errors.MalformedResponse,
			"response of %s cannot be encoded: %w", c.plan.method.FullName(), err))
	}
	return frame
}

func (c *serverCall) errorFrame(failure error) []byte {
	code, text, details := errors.ToWire(failure)
	unprocessed := isMarkedUnprocessed(failure)
	frame, err := c.encode(&wire.Response{Code: string(code), Error: text, Details: details, Unprocessed: unprocessed})
	if err != nil {
		c.plan.server.options.logger.Error("dynpsrpc: error details cannot be encoded",
			slog.String("method", c.plan.method.FullName()), slog.Any("error", err))
		frame, _ = c.encode(&wire.Response{Code: string(code), Error: text, Unprocessed: unprocessed})
	}
	return frame
}

// encode completes an answer with what all have in common, and encodes it.
func (c *serverCall) encode(response *wire.Response) ([]byte, error) {
	response.RequestID = c.requestID
	response.ServerID = c.plan.server.wireID
	response.SentAt = time.Now().UnixNano()
	if c.plan.method.Routing() == registry.RoutingMulti {
		response.Subscribers = c.subscribers
	}
	return response.AppendFrame(nil)
}

// panicFrame logs what the caller must not see.
func (c *serverCall) panicFrame(value any) []byte {
	c.plan.reportPanic(&c.context, "handler", value)
	return c.errorFrame(errors.NewErrorf(errors.Internal, "the handler of %s panicked", c.plan.method.FullName()))
}

// sendResponse publishes the response, or says why it cannot.
func (c *serverCall) sendResponse(frame []byte) {
	server := c.plan.server
	c.publishContext.Limit = server.options.timeout
	defer c.publishContext.Cancel()
	err := server.publishToClient(&c.publishContext, c.plan.method, c.client.responses, frame)
	if errors.Is(err, bus.ErrFrameTooLarge) {
		_ = server.publishToClient(&c.publishContext, c.plan.method, c.client.responses, c.tooLargeFrame(err)) // logged there
	}
}

func (c *serverCall) tooLargeFrame(err error) []byte {
	return c.errorFrame(errors.NewErrorf(errors.ResourceExhausted, "response of %s: %w", c.plan.method.FullName(), err))
}

// computeDeadline sets when the request expires by this server's clock, and reports whether that is still to come. A
// request that seems to be late, from a client of which nothing is known yet, is in doubt: if its servers are chosen
// by claims, it is claimed, and the client's answer proves that it is not late.
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
	case delay < 0: // nothing comes before it is sent
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

// applySkew takes the client's clock to be slow by so much.
func (c *serverCall) applySkew(now, expiry time.Time, slow time.Duration) bool {
	c.context.Expiry = expiry.Add(slow)
	c.clockSkewed = slow.Abs() > clockskew.Tolerance
	return now.Before(c.context.Expiry)
}

// confirmFresh says that a doubtful request is awaited: it is not late.
func (c *serverCall) confirmFresh() {
	if c.maybeExpired {
		now := time.Now()
		c.client.clock.Observe(now, now.Sub(time.Unix(0, c.sentAt)))
		c.clockSkewed = true
	}
}

// warnClockSkew says once that a client's clock is off.
func (c *serverCall) warnClockSkew() {
	if c.clockSkewed && c.client.clock.FirstWarning() {
		c.plan.server.options.logger.Warn("dynpsrpc: the clock of a client is off",
			slog.String("client", c.client.id), slog.String("method", c.plan.method.FullName()))
	}
}
