package dynamic

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// streamRequest is a client's request to open a stream. After acceptance it serves the stream, on a
// goroutine of its own.
type streamRequest struct {
	endpoint *endpoint
	plan     *serverPlan
	// token is the request's entry in endpoint.inFlight.
	token   *lifecycle.Token
	request wire.Stream
	// context ends at the expiry of the request, when the client cancels it, or with the
	// registration.
	context lazyctx.Context
	// subscribers is the number of servers that the bus counted as one receiver when the request
	// arrived. It is 0 if this server is a receiver of its own.
	subscribers uint32
	// grant receives whether the client selected this server. It is nil if the method needs no
	// claim.
	grant chan bool
}

// startStreamRequest starts a worker that serves a request to open a stream on e. It treats token
// and returns as startServerCall does, and never blocks.
func startStreamRequest(e *endpoint, open *wire.Stream, token *lifecycle.Token) bool {
	r := e.plan.registration
	req := &streamRequest{endpoint: e, plan: e.plan, token: token, request: *open}
	req.context.Info = req
	req.context.Parent = r.ctx
	req.context.Expiry = time.Unix(0, open.Expiry)
	now := time.Now()
	if !now.Before(req.context.Expiry) {
		r.server.stats.expired.Add(1)
		return false
	}
	needsGrant := e.plan.method.RequireClaim()
	if !needsGrant && r.server.requestDedup.Seen(0, req.request.RequestID, req.request.SentAt, now) {
		r.server.stats.duplicated.Add(1)
		return false
	}
	req.subscribers = e.subscribers()
	req.grant = r.trackRequest(req.request.RequestID, &req.context, needsGrant)
	if !r.server.workers.Go(req) {
		req.deregister()
		return false
	}
	return true
}

// requestInfo implements requestInfoProvider.
func (req *streamRequest) requestInfo() RequestInfo {
	return newRequestInfo(string(req.request.NodeID), req.request.SentAt, req.request.Metadata)
}

// deregister removes the request from the tables of pending claims and of cancel functions.
func (req *streamRequest) deregister() {
	req.plan.registration.untrackRequest(req.request.RequestID, &req.context, req.grant)
}

// serve accepts the stream and runs its handler. It returns when no goroutine of the stream is
// running.
func (req *streamRequest) serve() {
	defer req.endpoint.inFlight.Leave(req.token)
	if s, handle := req.accept(); s != nil {
		req.handle(s, handle)
	}
}

// accept claims the stream if the method requires a claim, runs the interceptors and acknowledges
// the request. It returns the open stream and a function that calls the handler, or nil if the
// client selected another server, if an interceptor rejected the stream, or if the client or this
// server is gone.
func (req *streamRequest) accept() (s *stream, handle func() error) {
	defer req.deregister()
	defer req.context.Cancel()
	if req.grant != nil && !req.claim() {
		return nil, nil
	}
	s = req.newStream()
	handle = req.plan.handler.stream.newTyped(s)
	if err := req.intercept(s); err != nil {
		_ = s.Close(err) // If the close frame is lost, the client fails at its timeout.
		return nil, nil
	}
	if !req.establish(s) {
		s.chain.finish(s.Err())
		return nil, nil
	}
	return s, handle
}

// intercept builds the stream's interceptor chain. It returns the error with which an interceptor
// rejects the stream.
func (req *streamRequest) intercept(s *stream) error {
	r := req.plan.registration
	return r.panics().guard(s.context, s.method, func() error {
		interceptors := slices.Clone(r.interceptors.stream)
		// newStreamChain expects the order from the user to the bus, and on a server the outermost
		// interceptor is nearest the bus.
		slices.Reverse(interceptors)
		chain, err := newStreamChain(s.context, r.panics(), interceptors, newRPCInfo(s.method, s.topic))
		if chain != nil {
			s.context = chain.context
		}
		s.intercept(chain)
		return err
	})
}

// claim sends a claim and reports whether the client selected this server.
func (req *streamRequest) claim() bool {
	offer := claimOffer{
		plan:        req.plan,
		requestID:   req.request.RequestID,
		grant:       req.grant,
		client:      req.plan.registration.clients.get(req.request.NodeID),
		subscribers: req.subscribers,
		affinity: func() float32 {
			if req.plan.handler.stream.affinity == nil {
				return 1
			}
			return req.plan.handler.stream.affinity(&req.context)
		},
		closing: req.endpoint.closing,
	}
	return offer.obtainGrant(&req.context)
}

func (req *streamRequest) newStream() *stream {
	r, bound := req.plan.registration, req.plan.handler.stream
	return newStream(context.WithValue(r.ctx, lazyctx.InfoKey{}, req), streamConfig{
		id: req.request.StreamID, method: req.plan.method, topic: req.endpoint.topic, bus: r.server.bus,
		remote:  bus.Channel(wire.StreamClientChannel(r.service.WireName(), string(req.request.NodeID))),
		timeout: r.server.options.timeout, sendType: bound.sendType, recvType: bound.recvType,
		buffer: bound.buffer, window: bound.window, counters: &r.server.stats.streams,
		dedup: &r.server.messageDedup, owner: req.endpoint,
	})
}

// establish adds the stream to the table of its endpoint, starts the pump and acknowledges the
// request. It returns false if the stream could not be established; the stream is closed then.
func (req *streamRequest) establish(s *stream) bool {
	server, streams := req.plan.server, &req.endpoint.inbound.streams
	switch err := streams.add(s); {
	case errors.Is(err, errStreamExists):
		server.stats.streams.unmatched.Add(1)
		s.markClosed(err)
		return false
	case err != nil: // The endpoint is closing. After the close frame the client opens another stream.
		_ = s.Close(err)
		return false
	}
	s.release = func() { streams.remove(s) }
	if !server.workers.Go(streamPump{s}) {
		_ = s.Close(errors.ErrStreamEOF)
		s.release()
		return false
	}
	keepalive := time.Duration(0)
	if req.request.Keepalive > 0 {
		keepalive = keepaliveInterval(server.options.keepalive)
	}
	if err := req.acknowledge(s, keepalive); err != nil {
		if s.Err() == nil {
			server.options.logger.Warn("dynpsrpc: acknowledgement of a new stream cannot be sent",
				slog.String("method", req.plan.method.FullName()), slog.Any("error", err))
		}
		_ = s.Close(err)
		<-s.pumpDone
		return false
	}
	s.startKeepalive(keepalive, time.Duration(req.request.Keepalive))
	return true
}

// acknowledge sends the acknowledgement that opens the stream on the client's side.
func (req *streamRequest) acknowledge(s *stream, keepalive time.Duration) error {
	ack := wire.Stream{
		StreamID: s.id, RequestID: req.request.RequestID, SentAt: req.request.SentAt, Expiry: req.request.Expiry,
		Op: wire.StreamAck, Keepalive: int64(keepalive),
	}
	frame, err := ack.AppendFrame(nil)
	if err != nil {
		return err
	}
	return s.publish(&req.context, frame, nil)
}

// handle runs the handler, closes the stream unless it was hijacked, and returns when no goroutine
// of the stream is running. It recovers panics, and also handles a handler that called
// runtime.Goexit.
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
	}()
	cause = handle()
	returned = true
}

// streamPump runs a stream's pump on the server's worker pool.
type streamPump struct{ *stream }

func (p streamPump) serve() { p.pump() }
