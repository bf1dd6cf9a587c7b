package serve

import (
	"bytes"
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/stream"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// streamRequest is a client's request to open a stream. The goroutine that accepts the request also
// runs the handler of the stream.
type streamRequest struct {
	requestBase

	request wire.Stream
	// startedAt is the time at which RecordStart was called on the recorder.
	startedAt time.Time
}

// startStreamRequest starts a worker that serves a request to open a stream on e, without blocking.
// size is how many bytes the request keeps in memory. token is the result of e.inFlight.Enter. The
// worker passes it to Leave when it is done. If startStreamRequest returns false, it has dropped
// the request, and the caller must pass the token to Leave.
func startStreamRequest(e *endpoint, open *wire.Stream, size int, token *lifecycle.Token) bool {
	s := e.plan.service
	req := &streamRequest{
		requestBase: requestBase{endpoint: e, token: token, client: s.clients.get(open.NodeID), sentAt: open.SentAt},
		request:     *open,
	}
	req.context.Info = req
	req.context.Parent = s.ctx
	now := time.Now()
	needsGrant := e.plan.method.RequireClaim()
	if e.hasEvents() {
		e.emit(Event{Kind: RequestReceived, Peer: req.client.id})
	}
	if !req.computeDeadline(now, open.Expiry, needsGrant) {
		e.dropExpired(req.client, now.Sub(time.Unix(0, open.Expiry)))
		return false
	}
	if !needsGrant && s.engine.requestDedup.Seen(0, req.request.RequestID, req.request.SentAt, now) {
		s.engine.drops.Add(transport.DropDuplicated, transport.DroppedFrame{Method: e.plan.method, Peer: open.NodeID})
		return false
	}
	req.subscribers = e.subscribers()
	if size > largeFrame {
		req.request.StreamID, req.request.RequestID = bytes.Clone(open.StreamID), bytes.Clone(open.RequestID)
		req.request.NodeID, req.request.Body = bytes.Clone(open.NodeID), wire.Body{}
	}
	s.engine.running.add(req.request.RequestID, runningRequest{context: &req.context})
	if needsGrant {
		req.claim = s.engine.pendingClaims.register(req.request.RequestID, req, e, size, req.context.Expiry)
	}
	if !s.engine.workers.Go(req) {
		req.deregister()
		return false
	}
	return true
}

// RequestInfo implements transport.InfoProvider.
func (req *streamRequest) RequestInfo() transport.RequestInfo {
	return transport.NewRequestInfo(string(req.request.NodeID), req.request.SentAt, req.endpoint.topic, req.request.Metadata)
}

// deregister removes the request from the running requests and the pending claims of the server.
func (req *streamRequest) deregister() {
	req.plan().engine.running.remove(req.request.RequestID, &req.context)
	if req.claim != nil {
		req.plan().engine.pendingClaims.remove(req.claim)
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
	if !granted || !req.plan().engine.workers.Go(req) {
		req.countUngranted()
		req.end()
		req.endpoint.inFlight.Leave(req.token)
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
	if req.recorder = req.plan().recorder.Load(); req.recorder != nil {
		req.startedAt = time.Now()
		(*req.recorder).RecordStart()
	}
}

// recordEnd records the end of the stream. cause is the error with which the stream failed, or nil.
// notRun reports whether the handler has not run.
func (req *streamRequest) recordEnd(cause error, notRun bool) {
	if req.recorder == nil {
		return
	}
	end := CallEnd{Time: time.Now()}
	end.Duration = end.Time.Sub(req.startedAt)
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
	engine := req.plan().engine
	if !engine.streams.TryAcquire() {
		return errors.NewErrorf(errors.ResourceExhausted,
			"server %s has reached its limit of %d open streams", engine.ID, engine.streams.Max)
	}
	if req.request.Keepalive > 0 || engine.silentStreams.TryAcquire() {
		return nil
	}
	engine.streams.Release()
	return errors.NewErrorf(errors.ResourceExhausted,
		"server %s has reached its limit of %d open streams of peers without keepalive", engine.ID, engine.silentStreams.Max)
}

// releaseLimits undoes acquireLimits.
func (req *streamRequest) releaseLimits() {
	if req.request.Keepalive <= 0 {
		req.plan().engine.silentStreams.Release()
	}
	req.plan().engine.streams.Release()
}

// refuse rejects the request with the error err and counts it in [Stats].Refused.
func (req *streamRequest) refuse(err error) {
	defer req.end()
	req.plan().engine.drops.Add(transport.DropRefused, transport.DroppedFrame{Method: req.plan().method, Peer: req.request.NodeID, Err: err})
	s := req.newStream()
	// The error can be ignored. If the close frame is lost, the client's request times out.
	_ = s.Close(err)
	s.Discard(err)
}

// accept runs the interceptors and acknowledges the request. It returns the open stream and a
// function that calls the handler. It returns an error if an interceptor rejects the stream, or if
// the stream cannot be opened, for example because this server is shutting down.
func (req *streamRequest) accept() (s *stream.Stream, handle func() error, err error) {
	defer req.end()
	req.confirmFresh()
	req.warnIfSkewed()
	s = req.newStream()
	if handle, err = req.plan().handler.Stream.Open(s); err != nil {
		// The error can be ignored. If the close frame is lost, the client's request times out.
		_ = s.Close(err)
		s.Discard(s.Err())
		return nil, nil, err
	}
	if !req.establish(s) {
		return nil, nil, s.Err()
	}
	return s, handle, nil
}

// sendClaim sends a claim. It returns true if the client has not selected a server yet. In that
// case, the request waits, and the caller must not use req any more. Otherwise, sendClaim sets
// req.granted, and ends the request if the client has not selected this server.
func (req *streamRequest) sendClaim() (parked bool) {
	offer := claimOffer{
		plan:        req.plan(),
		topic:       req.endpoint.topic,
		requestID:   req.request.RequestID,
		needsGrant:  true,
		client:      req.client,
		subscribers: req.subscribers,
		affinity: func() float32 {
			if req.plan().handler.Stream.Affinity == nil {
				return 1
			}
			return req.plan().handler.Stream.Affinity(&req.context)
		},
	}
	granted, decided := false, true
	if offer.send(&req.context) {
		granted, decided = req.plan().engine.pendingClaims.park(req.claim)
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

func (req *streamRequest) newStream() *stream.Stream {
	s, handler := req.plan().service, req.plan().handler.Stream
	window := handler.Window
	if req.request.Keepalive == 0 {
		// A client without keepalives may be a psrpc client, which drops messages for which it has
		// no room. Without a window, Send waits for each acknowledgement.
		window = 0
	}
	return stream.New(context.WithValue(s.ctx, lazyctx.InfoKey{}, req), stream.Config{
		ID: req.request.StreamID, Method: req.plan().method, Topic: req.endpoint.topic, Bus: s.engine.bus,
		Remote:  bus.Channel(wire.StreamClientChannel(s.Descriptor.WireName(), string(req.request.NodeID))),
		Timeout: s.engine.Timeout, SendType: handler.SendType, RecvType: handler.RecvType,
		Buffer: handler.Buffer, Window: window, Drops: &s.engine.drops,
		Decompressed: &s.engine.decompressed, Dedup: &s.engine.messageDedup,
		ClockOffset: &req.client.clock, OnSkew: func() { req.plan().warnClockSkew(req.client) }, Ordered: true,
		Release: req.endpoint.inbound.streams.Remove, Owner: req.endpoint, Tap: &s.engine.tap,
	})
}

// establish adds the stream to the endpoint's table of streams, starts to deliver its messages and
// acknowledges the request. If one of these steps fails, establish ends the stream and returns
// false.
func (req *streamRequest) establish(s *stream.Stream) bool {
	engine := req.plan().engine
	switch err := req.endpoint.inbound.streams.Add(s); {
	case errors.Is(err, stream.ErrExists):
		engine.drops.Add(transport.DropUnmatched, transport.DroppedFrame{
			Method: req.plan().method, Peer: req.request.NodeID, Err: err,
		})
		s.CloseLocally(err)
		s.Discard(err)
		return false
	case err != nil:
		// The endpoint is closing. When the client receives the close frame, it tries to open the
		// stream again.
		_ = s.Close(err)
		s.Discard(err)
		return false
	}
	if !engine.workers.Go(streamTask{s}) {
		_ = s.Close(errors.ErrStreamEOF)
		s.Discard(s.Err())
		return false
	}
	keepalive := time.Duration(0)
	if req.request.Keepalive > 0 {
		keepalive = engine.Keepalive
	}
	if err := s.Accept(&req.context, &req.request, keepalive); err != nil {
		if s.Err() == nil {
			engine.drops.Add(transport.DropUnsent, transport.DroppedFrame{
				Method: req.plan().method, Channel: s.Remote(), Err: err,
			})
		}
		_ = s.Close(err)
		<-s.Ended()
		return false
	}
	s.StartKeepalive(keepalive, time.Duration(req.request.Keepalive))
	if req.request.Keepalive <= 0 {
		s.StartIdleTimeout(engine.StreamIdleTimeout)
	}
	return true
}

// handle runs the handler and then closes the stream, unless the handler has called Hijack. When
// handle returns, all goroutines of the stream have ended. If the handler panics or calls
// runtime.Goexit, handle reports a panic and closes the stream.
func (req *streamRequest) handle(s *stream.Stream, handle func() error) {
	returned := false
	var cause error
	defer func() {
		if !returned {
			req.plan().reportPanic(s.Context(), "handler", recover())
			cause = errors.NewErrorf(errors.Internal, "the handler of %s panicked", req.plan().method.FullName())
		}
		if !returned || !s.Hijacked() {
			req.close(s, cause)
		}
		<-s.Ended()
		if returned && cause == nil && s.Hijacked() {
			cause = s.Err()
		}
		req.recordEnd(cause, false)
	}()
	cause = handle()
	returned = true
}

// close closes the stream with cause. If an interceptor of the stream panics, close reports the
// panic.
func (req *streamRequest) close(s *stream.Stream, cause error) {
	defer func() {
		if value := recover(); value != nil {
			req.plan().reportPanic(s.Context(), "interceptor", value)
		}
	}()
	_ = s.CloseIntercepted(cause)
}

// streamTask is a task for the server's worker pool. The task is to deliver the messages of a
// stream.
type streamTask struct{ stream *stream.Stream }

func (t streamTask) serve() { t.stream.Run() }
