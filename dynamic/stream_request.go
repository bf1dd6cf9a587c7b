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

// streamRequest is a stream being served, by a goroutine of its own.
type streamRequest struct {
	endpoint    *endpoint
	plan        *serverPlan
	token       *lifecycle.Token // in the listener's gate
	request     wire.Stream
	context     lazyctx.Context // ends when the client gives up
	subscribers uint32          // servers that the bus counts as one receiver, when the opening came; 0 for one
	grant       chan bool       // the client's choice; nil if there is none to wait for
}

// requestInfo returns what a handler can ask for.
func (req *streamRequest) requestInfo() RequestInfo {
	return newRequestInfo(string(req.request.NodeID), req.request.SentAt, req.request.Metadata)
}

// deregister ends what the server does for the opening.
func (req *streamRequest) deregister() {
	req.plan.registration.untrackRequest(req.request.RequestID, &req.context, req.grant)
}

func (req *streamRequest) serve() {
	defer req.endpoint.inFlight.Leave(req.token)
	if s, handle := req.accept(); s != nil {
		req.handle(s, handle)
	}
}

// accept returns an open stream and what handles it, or nil if another server has it or the client has gone.
func (req *streamRequest) accept() (s *stream, handle func() error) {
	defer req.deregister()
	defer req.context.Cancel()
	if req.grant != nil && !req.claim() {
		return nil, nil
	}
	s = req.newStream()
	handle = req.plan.handler.stream.newTyped(s)
	if err := req.intercept(s); err != nil {
		_ = s.Close(err) // if that does not come through, the client's time will be up
		return nil, nil
	}
	if !req.establish(s) {
		s.chain.finish(s.Err())
		return nil, nil
	}
	return s, handle
}

// intercept fails with why an interceptor refuses the stream.
func (req *streamRequest) intercept(s *stream) error {
	r := req.plan.registration
	return r.panics().guard(s.context, s.method, func() error {
		interceptors := slices.Clone(r.interceptors.stream)
		slices.Reverse(interceptors) // the outermost is nearest the bus
		chain, err := newStreamChain(s.context, r.panics(), interceptors, newRPCInfo(s.method, s.topic))
		if chain != nil {
			s.context = chain.context
		}
		s.intercept(chain)
		return err
	})
}

// claim offers this server to the client and reports whether the client chose it.
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
		dedup: &r.server.messageDedup, endpoint: req.endpoint,
	})
}

// establish makes the stream one of the listener's and tells the client. It reports false if that is not possible.
func (req *streamRequest) establish(s *stream) bool {
	server, streams := req.plan.server, &req.endpoint.inbound.streams
	switch err := streams.add(s); {
	case errors.Is(err, errStreamExists):
		server.stats.streams.unmatched.Add(1)
		s.markClosed(err)
		return false
	case err != nil: // the listener is closed
		_ = s.Close(err) // if that does not come through, the client's time will be up
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
			server.options.logger.Warn("dynpsrpc: stream could not be accepted",
				slog.String("method", req.plan.method.FullName()), slog.Any("error", err))
		}
		_ = s.Close(err) // or it was closed just now
		<-s.pumpDone
		return false
	}
	s.startKeepalive(keepalive, time.Duration(req.request.Keepalive))
	return true
}

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

// handle runs the handler, and returns when nothing of the stream is left running.
func (req *streamRequest) handle(s *stream, handle func() error) {
	returned := false
	var cause error
	defer func() {
		if !returned { // a panic, or runtime.Goexit
			req.plan.reportPanic(s.context, "handler", recover())
			cause = errors.NewErrorf(errors.Internal, "the handler of %s panicked", req.plan.method.FullName())
		}
		if !returned || !s.hijacked.Load() {
			_ = req.plan.registration.panics().guard(s.context, s.method, func() error {
				return s.closeIntercepted(cause) // or it was closed before
			})
		}
		<-s.pumpDone
	}()
	cause = handle()
	returned = true
}

// streamPump runs a stream's pump as a job of the server's workers.
type streamPump struct{ *stream }

func (p streamPump) serve() { p.pump() }
