package dynamic

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func openStream[Send, Recv proto.Message](
	ctx context.Context, p *clientPlan, bound *route, o *requestOptions,
) (ClientStream[Send, Recv], error) {
	if err := p.check(registry.KindStream); err != nil {
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
	if err := p.conn.goTracked(s.pump); err != nil { // Conn.Close waits for it
		s.release()
		chain.finish(err)
		return nil, err
	}
	return typed, nil
}

// streamChain returns the handlers of the conn's interceptors and then those of the call's.
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

// streamOpening is what a client's stream knows of its opening.
type streamOpening struct {
	id        id.Call // of the request
	inbox     *callInbox
	keepalive atomic.Int64 // the server's
}

// onAck takes the acknowledgement of the open, the first one if there are several; it never blocks.
func (o *streamOpening) onAck(frame *wire.Stream) {
	o.keepalive.CompareAndSwap(0, frame.Keepalive)
	o.inbox.onResponse(wire.Response{})
}

// onRefused takes a close, which means nothing if the stream has been acknowledged; it never blocks.
func (o *streamOpening) onRefused(err errors.Error) {
	o.inbox.onResponse(wire.Response{Code: string(err.Code()), Error: err.Error(), Details: err.DetailsProto()})
}

// maxReopens is how often a stream is opened anew because the server that took it was just ending.
const maxReopens = 3

// openStream returns a stream that a server has taken.
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
	c.chooseSelection(o, false) // streams are never queued
	timeout, _ := p.conn.bounds(ctx, c.started, o)
	c.expiry = timeout // not cut to the context, as in psrpc
	s := p.newStream(ctx, route, timeout, o)
	s.opening = &streamOpening{id: c.inbox.id, inbox: c.inbox} // which keeps it: an acknowledgement may come late

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
		return nil, errors.NewErrorf(errors.MalformedRequest, "stream of %s cannot be opened: %w", p.method.FullName(), err)
	}
	if err := p.conn.trackStream(s); err != nil {
		s.markClosed(err)
		return nil, c.withFacts(p.conn.closeError())
	}
	if _, err := c.run(ctx, route.streams, frame, timeout); err != nil {
		c.abortOpening(ctx, s, err)
		return nil, err
	}
	s.startKeepalive(keepalive, time.Duration(s.opening.keepalive.Load()))
	s.closeWithContext(ctx)
	return s, nil
}

func (p *clientPlan) newStream(ctx context.Context, r *route, timeout time.Duration, o *requestOptions) *stream {
	streamID := id.NewStream()
	return newStream(ctx, streamConfig{
		id: streamID[:], method: p.method, topic: r.topic, bus: p.conn.bus, remote: r.streams, timeout: timeout,
		sendType: p.requests, recvType: p.responses, buffer: o.bufferSize, window: o.window,
		counters: &p.conn.stats.streams, dedup: &p.conn.messageDedup,
	})
}

// connStream is a stream as a member of its conn.
type connStream struct{ *stream }

// end closes the stream as psrpc does: that of a closed client ends well.
func (s connStream) end(err error) {
	if errors.Is(err, errors.ErrClientClosed) {
		err = nil
	}
	_ = s.Close(err)
}
