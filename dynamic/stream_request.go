package dynamic

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// streamRequest is a client's request to open a stream. The goroutine that accepts the request also
// runs the handler of the stream.
type streamRequest struct {
	endpoint *endpoint
	plan     *serverPlan
	// token is the token that endpoint.inFlight.Enter returned for this request. It must be passed
	// to Leave when the request has ended.
	token   *lifecycle.Token
	request wire.Stream
	requestClock
	// context ends when the request expires, when the client cancels the request, or when the
	// context of the registration ends.
	context lazyctx.Context
	// subscribers is the number of servers, including this one, that shared this server's
	// subscription when the request arrived. It is 0 if there was no sharing, and for queue
	// methods. Clients need the number, because the bus counts these servers as one receiver.
	subscribers uint32
	// claim is the entry of the request in the server's pending claims. It is nil if the method
	// does not require a claim.
	claim *pendingClaim
	// granted reports whether the client has selected this server.
	granted bool
	// recorder records the stream. It is nil if the method has no recorder. started is the time of
	// RecordStart.
	recorder *MethodRecorder
	started  time.Time
}

// largeFrame is the frame size, in bytes, above which a request or stream copies the parts of a
// frame that it keeps. A part that is not copied keeps the whole frame in memory. Parts of smaller
// frames are not copied, because copying takes time.
const largeFrame = 4 << 10

// startStreamRequest starts a worker that serves a request to open a stream on e, without blocking.
// size is how many bytes the request keeps in memory. token is the result of e.inFlight.Enter. The
// worker passes it to Leave when it is done. If startStreamRequest returns false, it has dropped
// the request, and the caller must pass the token to Leave.
func startStreamRequest(e *endpoint, open *wire.Stream, size int, token *lifecycle.Token) bool {
	r := e.plan.registration
	req := &streamRequest{
		endpoint: e, plan: e.plan, token: token, request: *open,
		requestClock: requestClock{client: r.clients.get(open.NodeID), sentAt: open.SentAt},
	}
	req.context.Info = req
	req.context.Parent = r.ctx
	now := time.Now()
	needsGrant := e.plan.method.RequireClaim()
	if e.hasEvents() {
		e.emit(RequestEvent{Kind: RequestReceived, Peer: req.client.id})
	}
	if !req.computeDeadline(now, open.Expiry, &req.context, needsGrant) {
		e.dropExpired(req.client, now.Sub(time.Unix(0, open.Expiry)))
		return false
	}
	if !needsGrant && r.server.requestDedup.Seen(0, req.request.RequestID, req.request.SentAt, now) {
		r.server.drops.add(dropDuplicated, droppedFrame{method: e.plan.method, peer: open.NodeID})
		return false
	}
	req.subscribers = e.subscribers()
	if size > largeFrame {
		req.request.StreamID, req.request.RequestID = bytes.Clone(open.StreamID), bytes.Clone(open.RequestID)
		req.request.NodeID, req.request.Body = bytes.Clone(open.NodeID), wire.Body{}
	}
	r.server.running.add(req.request.RequestID, runningRequest{registration: r, context: &req.context})
	if needsGrant {
		req.claim = r.server.pendingClaims.register(req.request.RequestID, req, e, size, req.context.Expiry)
	}
	if !r.server.workers.Go(req) {
		req.deregister()
		return false
	}
	return true
}

// requestInfo implements requestInfoProvider.
func (req *streamRequest) requestInfo() RequestInfo {
	return newRequestInfo(string(req.request.NodeID), req.request.SentAt, req.endpoint.topic, req.request.Metadata)
}

// deregister removes the request from the running requests and the pending claims of the server.
func (req *streamRequest) deregister() {
	req.plan.server.running.remove(req.request.RequestID, &req.context)
	if req.claim != nil {
		req.plan.server.pendingClaims.remove(req.claim)
	}
}

// end cancels the context of the request and deregisters the request. It does not close the stream.
// It also does not call endpoint.inFlight.Leave, because the handler may still have to run.
func (req *streamRequest) end() {
	req.context.Cancel()
	req.deregister()
}

// grantDecided implements claimant.
func (req *streamRequest) grantDecided(granted bool) {
	req.granted = granted
	if !granted || !req.plan.server.workers.Go(req) {
		req.countUngranted()
		req.end()
		req.endpoint.inFlight.Leave(req.token)
	}
}

// countUngranted counts the request as expired if it looked expired when it arrived. It is called
// if the client has not selected this server.
func (req *streamRequest) countUngranted() {
	if req.maybeExpired {
		req.endpoint.dropExpired(req.client, 0)
	}
}

// serve claims the request if the method requires a claim, then accepts the stream and runs its
// handler. If the client has not selected a server yet, serve returns after the claim. It is called
// again once the client has selected this server. When serve returns after the handler, all
// goroutines of the stream have ended.
func (req *streamRequest) serve() {
	parked := false
	defer func() {
		// If parked is true, another goroutine may already be using req.
		if !parked {
			req.endpoint.inFlight.Leave(req.token)
		}
	}()
	if req.claim != nil && !req.granted {
		if parked = req.sendClaim(); parked || !req.granted {
			return
		}
	}
	req.recordStart()
	if err := req.acquireLimits(); err != nil {
		req.recordEnd(err, true)
		req.refuse(err)
		return
	}
	defer req.releaseLimits()
	s, handle, err := req.accept()
	if err != nil {
		req.recordEnd(err, true)
		return
	}
	req.handle(s, handle)
}

// recordStart records that the server begins to open the stream.
func (req *streamRequest) recordStart() {
	if req.recorder = req.plan.recorder.Load(); req.recorder != nil {
		req.started = time.Now()
		(*req.recorder).RecordStart()
	}
}

// recordEnd records the end of the stream. cause is the error with which this server has closed the
// stream, or nil.
func (req *streamRequest) recordEnd(cause error, notRun bool) {
	if req.recorder == nil {
		return
	}
	end := CallEnd{Time: time.Now()}
	end.Duration = end.Time.Sub(req.started)
	if cause != nil && !errors.Is(cause, errors.ErrStreamClosed) && !errors.Is(cause, errors.ErrStreamEOF) {
		end.Code, end.Text = errors.ToStreamClose(cause)
		end.Unprocessed = notRun
	}
	(*req.recorder).RecordEnd(end)
}

// acquireLimits counts the stream towards the server's limits on open streams. It returns an error
// if a limit has been reached. It is called after the client has selected this server, so that
// requests that go to other servers do not count.
func (req *streamRequest) acquireLimits() error {
	server := req.plan.server
	if !server.streams.TryAcquire() {
		return errors.NewErrorf(errors.ResourceExhausted,
			"server %s has reached its limit of %d open streams", server.ID(), server.streams.Max)
	}
	if req.request.Keepalive > 0 || server.silentStreams.TryAcquire() {
		return nil
	}
	server.streams.Release()
	return errors.NewErrorf(errors.ResourceExhausted,
		"server %s has reached its limit of %d open streams of peers without keepalive", server.ID(), server.silentStreams.Max)
}

// releaseLimits undoes acquireLimits.
func (req *streamRequest) releaseLimits() {
	if req.request.Keepalive <= 0 {
		req.plan.server.silentStreams.Release()
	}
	req.plan.server.streams.Release()
}

// refuse rejects the request with the error err and counts it in ServerStats.Refused.
func (req *streamRequest) refuse(err error) {
	defer req.end()
	req.plan.server.drops.add(dropRefused, droppedFrame{method: req.plan.method, peer: req.request.NodeID, err: err})
	// The error can be ignored. If the close frame is lost, the client's request times out.
	_ = req.newStream().Close(err)
}

// accept runs the interceptors and acknowledges the request. It returns the open stream and a
// function that calls the handler. It returns an error if an interceptor rejects the stream, or if
// the stream cannot be opened, for example because this server is shutting down.
func (req *streamRequest) accept() (s *stream, handle func() error, err error) {
	defer req.end()
	req.confirmFresh()
	req.warnIfSkewed(req.plan)
	s = req.newStream()
	handle = req.plan.handler.stream.newTyped(s)
	if err := req.intercept(s); err != nil {
		// The error can be ignored. If the close frame is lost, the client's request times out.
		_ = s.Close(err)
		return nil, nil, err
	}
	if err := req.plan.handler.stream.refusal; err != nil {
		_ = s.Close(err)
		s.chain.finish(s.Err())
		return nil, nil, err
	}
	if !req.establish(s) {
		s.chain.finish(s.Err())
		return nil, nil, s.Err()
	}
	return s, handle, nil
}

// intercept builds the stream's interceptor chain. It returns an error if an interceptor rejects
// the stream.
func (req *streamRequest) intercept(s *stream) error {
	r := req.plan.registration
	return r.panics().guard(s.context, s.method, func() error {
		interceptors := slices.Clone(r.interceptors.stream)
		// newStreamChain needs the interceptor nearest to the user first. On a server, however, the
		// interceptor nearest to the bus is the first.
		slices.Reverse(interceptors)
		chain, err := newStreamChain(s.context, r.panics(), interceptors, newRPCInfo(s.method, s.topic))
		if chain != nil {
			s.context = chain.context
		}
		s.intercept(chain)
		return err
	})
}

// sendClaim sends a claim. It returns true if the client has not selected a server yet. In that
// case, the request waits, and the caller must not use req any more. Otherwise, sendClaim sets
// req.granted, and ends the request if the client has not selected this server.
func (req *streamRequest) sendClaim() (parked bool) {
	offer := claimOffer{
		plan:        req.plan,
		topic:       req.endpoint.topic,
		requestID:   req.request.RequestID,
		needsGrant:  true,
		client:      req.client,
		subscribers: req.subscribers,
		affinity: func() float32 {
			if req.plan.handler.stream.affinity == nil {
				return 1
			}
			return req.plan.handler.stream.affinity(&req.context)
		},
	}
	granted, decided := false, true
	if offer.send(&req.context) {
		granted, decided = req.plan.server.pendingClaims.park(req.claim)
	}
	if !decided {
		return true
	}
	if req.granted = granted; !granted {
		req.countUngranted()
		req.end()
	}
	return false
}

func (req *streamRequest) newStream() *stream {
	r, bound := req.plan.registration, req.plan.handler.stream
	window := bound.window
	if req.request.Keepalive == 0 {
		// A client without keepalives may be a psrpc client, which drops messages for which it has
		// no room. Without a window, Send waits for each acknowledgement.
		window = 0
	}
	s := newStream(context.WithValue(r.ctx, lazyctx.InfoKey{}, req), streamConfig{
		id: req.request.StreamID, method: req.plan.method, topic: req.endpoint.topic, bus: r.server.bus,
		remote:  bus.Channel(wire.StreamClientChannel(r.service.WireName(), string(req.request.NodeID))),
		timeout: r.server.options.timeout, sendType: bound.sendType, recvType: bound.recvType,
		buffer: bound.buffer, window: window, drops: &r.server.drops,
		decompressed: &r.server.decompressed, dedup: &r.server.messageDedup, owner: req.endpoint, tap: &r.server.tap,
	})
	s.clock.offset = &req.client.clock
	s.clock.onSkew = func() { req.plan.warnClockSkew(req.client) }
	s.clock.ordered = true
	return s
}

// establish adds the stream to the endpoint's table of streams, starts to deliver its messages and
// acknowledges the request. If one of these steps fails, establish closes the stream and returns
// false.
func (req *streamRequest) establish(s *stream) bool {
	server, streams := req.plan.server, &req.endpoint.inbound.streams
	switch err := streams.add(s); {
	case errors.Is(err, errStreamExists):
		server.drops.add(dropUnmatched, droppedFrame{method: s.method, peer: req.request.NodeID, err: err})
		s.markClosed(err)
		return false
	case err != nil:
		// The endpoint is closing. When the client receives the close frame, it tries to open the
		// stream again.
		_ = s.Close(err)
		return false
	}
	s.release = func() { streams.remove(s) }
	if !server.workers.Go(streamPump{s}) {
		_ = s.Close(errors.ErrStreamEOF)
		s.release()
		s.closeMailbox()
		return false
	}
	keepalive := time.Duration(0)
	if req.request.Keepalive > 0 {
		keepalive = keepaliveInterval(server.options.keepalive)
	}
	if err := req.acknowledge(s, keepalive); err != nil {
		if s.Err() == nil {
			server.drops.add(dropUnsent, droppedFrame{method: s.method, channel: s.remote.Name, err: err})
		}
		_ = s.Close(err)
		<-s.pumpDone
		return false
	}
	s.tapStream(TrafficOpen, nil, nil)
	s.startKeepalive(keepalive, time.Duration(req.request.Keepalive))
	if req.request.Keepalive <= 0 {
		s.startIdleTimeout(server.options.streamIdleTimeout)
	}
	return true
}

// acknowledge tells the client that the stream is open.
func (req *streamRequest) acknowledge(s *stream, keepalive time.Duration) error {
	ack := wire.Stream{
		StreamID: s.id, RequestID: req.request.RequestID, SentAt: req.request.SentAt, Expiry: req.request.Expiry,
		Op: wire.StreamAck, Keepalive: int64(keepalive),
	}
	frame, err := ack.AppendFrame(nil)
	if err != nil {
		return err
	}
	ctx := lazyctx.Context{Parent: &req.context, Expiry: time.Now().Add(s.timeout)}
	defer ctx.Cancel()
	return s.publish(&ctx, frame, nil)
}

// handle runs the handler and then closes the stream, unless the handler has called Hijack. When
// handle returns, all goroutines of the stream have ended. If the handler panics or calls
// runtime.Goexit, handle reports a panic and closes the stream.
func (req *streamRequest) handle(s *stream, handle func() error) {
	returned := false
	var cause error
	defer func() {
		if !returned {
			req.plan.reportPanic(s.context, "handler", recover())
			cause = errors.NewErrorf(errors.Internal, "the handler of %s panicked", req.plan.method.FullName())
		}
		if !returned || !s.hijacked.Load() {
			_ = req.plan.registration.panics().guard(s.context, s.method, func() error {
				return s.closeIntercepted(cause)
			})
		}
		<-s.pumpDone
		if returned && cause == nil && s.hijacked.Load() {
			cause = s.Err()
		}
		req.recordEnd(cause, false)
	}()
	cause = handle()
	returned = true
}

// streamPump is a task for the server's worker pool. The task is to run the method pump of a
// stream.
type streamPump struct{ *stream }

func (p streamPump) serve() { p.pump() }
