package dynamic

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/clockskew"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func openStream[Send, Recv proto.Message](
	ctx context.Context, p *clientPlan, bound *route, o *requestOptions,
) (ClientStream[Send, Recv], error) {
	if err := p.check(ctx, registry.KindStream); err != nil {
		return nil, err
	}
	route, err := p.route(bound, o)
	if err != nil {
		return nil, err
	}
	chain, err := p.streamChain(ctx, route, o)
	if err != nil {
		return nil, err
	}
	if chain != nil {
		ctx = chain.context
	}
	s, err := p.openStream(ctx, route, o)
	if err != nil {
		chain.finish(err)
		return nil, err
	}
	typed := newTypedStream[Send, Recv](s)
	s.intercept(chain)
	// The conn tracks the goroutine that runs pump, so that Conn.Close waits for it.
	if err := p.conn.goTracked(s.pump); err != nil {
		s.release()
		chain.finish(err)
		return nil, err
	}
	return typed, nil
}

// streamChain returns the chain of the conn's interceptors, followed by those from the request
// options. It returns nil if there are no interceptors.
func (p *clientPlan) streamChain(ctx context.Context, r *route, o *requestOptions) (*streamChain, error) {
	options := &p.conn.options
	interceptors := options.interceptors.stream
	if o.interceptors != nil {
		if err := o.interceptors.err; err != nil {
			return nil, err
		}
		interceptors = slices.Concat(interceptors, o.interceptors.stream)
	}
	return newStreamChain(ctx, p.conn.panics(), interceptors, newRPCInfo(p.method, r.topic))
}

// maxReopens is the maximum number of retries if the server selected for a stream is shutting down.
const maxReopens = 3

// openStream opens a stream and returns it once a server has acknowledged the request. A server
// that shuts down after it has claimed the stream rejects it with ErrStreamEOF. openStream then
// tries again, because another server, or the next version of the service, may accept the stream.
func (p *clientPlan) openStream(ctx context.Context, route *route, o *requestOptions) (*stream, error) {
	for attempt := 0; ; attempt++ {
		s, err := p.tryOpenStream(ctx, route, o)
		if attempt == maxReopens || !errors.Is(err, errors.ErrStreamEOF) {
			return s, err
		}
	}
}

func (p *clientPlan) tryOpenStream(ctx context.Context, route *route, o *requestOptions) (*stream, error) {
	c := newUnaryCall(p, route)
	// The request to open a stream is always sent to all servers, and the servers that want the
	// stream claim it. A queue cannot be used for streams, because it would choose a server for
	// each frame.
	c.chooseSelection(o, false)
	timeout, _ := p.conn.bounds(ctx, c.started, o)
	// As in psrpc, the expiry of the request does not depend on the deadline of ctx.
	c.expiry = timeout
	// The stream keeps the inbox, which is therefore not returned to the pool. Otherwise, an
	// acknowledgement that arrives late could be mistaken for the response to a later call.
	opening := &streamOpening{id: c.inbox.id, inbox: c.inbox}
	s := p.newStream(ctx, route, timeout, o, opening)

	keepalive := keepaliveInterval(p.conn.options.keepalive)
	if p.method.Routing() == registry.RoutingMulti {
		keepalive = 0
	}
	open := wire.Stream{
		StreamID: s.id, RequestID: c.inbox.id[:], SentAt: c.started.UnixNano(),
		Expiry: c.started.Add(c.expiry).UnixNano(), Op: wire.StreamOpen,
		NodeID: p.conn.wireID, Metadata: o.outgoingMetadata(ctx), Keepalive: int64(keepalive),
	}
	frame, err := open.AppendFrame(nil)
	if err != nil {
		s.markClosed(err)
		return nil, errors.NewErrorf(errors.MalformedRequest, "request to open stream %s cannot be encoded: %w", p.method.FullName(), err)
	}
	if err := p.conn.trackStream(s); err != nil {
		s.markClosed(err)
		if errors.Is(err, errStreamExists) {
			return nil, c.withFacts(err, "")
		}
		return nil, c.withFacts(p.conn.closeError())
	}
	_, err = c.run(ctx, route.streams, frame, timeout)
	if len(p.conn.options.interceptors.events) > 0 {
		c.emitClaim(err)
	}
	if err != nil {
		c.abortOpening(ctx, s, err)
		return nil, err
	}
	if s.opening.keepalive.Load() == 0 {
		// A server without keepalives may be a psrpc server, which drops messages for which it has
		// no room. Without a window, Send waits for each acknowledgement.
		s.windowSlots = nil
	}
	server := c.server
	s.opening.server.Store(&server)
	s.startKeepalive(keepalive, time.Duration(s.opening.keepalive.Load()))
	s.closeWithContext(ctx)
	return s, nil
}

func (p *clientPlan) newStream(
	ctx context.Context, r *route, timeout time.Duration, o *requestOptions, opening *streamOpening,
) *stream {
	streamID := p.conn.newStreamID()
	s := newStream(ctx, streamConfig{
		id: streamID[:], method: p.method, topic: r.topic, bus: p.conn.bus, remote: r.streams, timeout: timeout,
		sendType: p.requests, recvType: p.responses, buffer: o.bufferSize, window: o.window,
		drops: &p.conn.drops, decompressed: &p.conn.decompressed, dedup: &p.conn.messageDedup,
	})
	s.opening = opening
	s.clock.offset = new(clockskew.Offset)
	s.clock.onSkew = func() { opening.warnClockSkew(p) }
	s.clock.ordered = p.method.Routing() != registry.RoutingMulti
	return s
}
