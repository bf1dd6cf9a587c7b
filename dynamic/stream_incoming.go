package dynamic

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// incomingStream is a stream being served, by a goroutine of its own.
type incomingStream struct {
	listener *endpoint
	method   *serverPlan
	place    *lifecycle.Token // in the listener's gate
	open     wire.Stream
	opening  lazyContext // ends when the client gives up
	sharers  uint32      // servers that the bus counts as one receiver, when the opening came; 0 for one
	grant    chan bool   // the client's choice; nil if there is none to wait for
}

// requestInfo returns what a handler can ask for.
func (in *incomingStream) requestInfo() RequestInfo {
	return newRequestInfo(string(in.open.NodeID), in.open.SentAt, in.open.Metadata)
}

// onOpen has a stream served that has entered at a place. It never blocks, and reports false if there is nothing to serve.
func (e *endpoint) onOpen(open *wire.Stream, place *lifecycle.Token) bool {
	r := e.plan.registration
	in := &incomingStream{listener: e, method: e.plan, place: place, open: *open}
	in.opening.provider = in
	in.opening.parent = r.ctx
	in.opening.deadline = time.Unix(0, open.Expiry)
	now := time.Now()
	if !now.Before(in.opening.deadline) {
		r.server.stats.expired.Add(1)
		return false
	}
	needsGrant := e.plan.method.RequireClaim()
	if !needsGrant && r.server.recentRequests.repeats(0, in.open.RequestID, in.open.SentAt, now) {
		r.server.stats.duplicated.Add(1)
		return false
	}
	in.sharers = e.subscribers()
	in.grant = r.await(in.open.RequestID, &in.opening, needsGrant)
	if !r.server.workers.Go(in) {
		in.forget()
		return false
	}
	return true
}

// forget ends what the server does for the opening.
func (in *incomingStream) forget() {
	in.method.registration.unawait(in.open.RequestID, &in.opening, in.grant)
}

func (in *incomingStream) serve() {
	defer in.listener.inFlight.Leave(in.place)
	if s, handle := in.begin(); s != nil {
		in.handle(s, handle)
	}
}

// begin returns an open stream and what handles it, or nil if another server has it or the client has gone.
func (in *incomingStream) begin() (s *stream, handle func() error) {
	defer in.forget()
	defer in.opening.cancel()
	if in.grant != nil && !in.obtainGrant() {
		return nil, nil
	}
	s = in.newStream()
	handle = in.method.handler.stream.attach(s)
	if err := in.intercept(s); err != nil {
		_ = s.Close(err) // if that does not come through, the client's time will be up
		return nil, nil
	}
	if !in.accept(s) {
		s.chain.finish(s.Err())
		return nil, nil
	}
	return s, handle
}

// intercept fails with why an interceptor refuses the stream.
func (in *incomingStream) intercept(s *stream) error {
	r := in.method.registration
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

// obtainGrant claims the stream and waits for the client's choice.
func (in *incomingStream) obtainGrant() bool {
	r := in.method.registration
	return r.obtainGrant(&in.opening, grantRequest{
		method:    in.method,
		requestID: in.open.RequestID,
		grant:     in.grant,
		peer:      r.clients.get(in.open.NodeID),
		sharers:   in.sharers,
		affinity: func() float32 {
			if in.method.handler.stream.affinity == nil {
				return 1
			}
			return in.method.handler.stream.affinity(&in.opening)
		},
		closing: in.listener.closing,
	})
}

func (in *incomingStream) newStream() *stream {
	r, bound := in.method.registration, in.method.handler.stream
	return newStream(context.WithValue(r.ctx, requestInfoKey{}, in), streamConfig{
		id: in.open.StreamID, method: in.method.method, topic: in.listener.topic, bus: r.server.bus,
		peer:    bus.Channel(wire.StreamClientChannel(r.service.WireName(), string(in.open.NodeID))),
		timeout: r.server.options.timeout, outgoing: bound.outgoing, incoming: bound.incoming,
		buffer: bound.buffer, window: bound.window, counters: &r.server.stats.streams,
		recent: &r.server.recentMessages, endpoint: in.listener,
	})
}

// accept makes the stream one of the listener's and tells the client. It reports false if that is not possible.
func (in *incomingStream) accept(s *stream) bool {
	server, streams := in.method.registration.server, &in.listener.inbound.streams
	switch err := streams.add(s); {
	case errors.Is(err, errStreamExists):
		server.stats.streams.unmatched.Add(1)
		s.conclude(err)
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
	if in.open.Keepalive > 0 {
		keepalive = announcedKeepalive(server.options.keepalive)
	}
	if err := in.acknowledge(s, keepalive); err != nil {
		if s.Err() == nil {
			server.options.logger.Warn("dynpsrpc: stream could not be accepted",
				slog.String("method", in.method.method.FullName()), slog.Any("error", err))
		}
		_ = s.Close(err) // or it was closed just now
		<-s.pumped
		return false
	}
	s.startKeepalive(keepalive, time.Duration(in.open.Keepalive))
	return true
}

func (in *incomingStream) acknowledge(s *stream, keepalive time.Duration) error {
	ack := wire.Stream{
		StreamID: s.id, RequestID: in.open.RequestID, SentAt: in.open.SentAt, Expiry: in.open.Expiry,
		Op: wire.StreamAck, Keepalive: int64(keepalive),
	}
	frame, err := ack.AppendFrame(nil)
	if err != nil {
		return err
	}
	return s.publish(&in.opening, frame, nil)
}

// handle runs the handler, and returns when nothing of the stream is left running.
func (in *incomingStream) handle(s *stream, handle func() error) {
	returned := false
	var cause error
	defer func() {
		if !returned { // a panic, or runtime.Goexit
			in.method.panicked(s.context, "handler", recover())
			cause = errors.NewErrorf(errors.Internal, "the handler of %s panicked", in.method.method.FullName())
		}
		if !returned || !s.hijacked.Load() {
			_ = in.method.registration.panics().guard(s.context, s.method, func() error {
				return s.closeThrough(cause) // or it was closed before
			})
		}
		<-s.pumped
	}()
	cause = handle()
	returned = true
}

// streamPump runs a stream's pump as a job of the server's workers.
type streamPump struct{ *stream }

func (p streamPump) serve() { p.pump() }
