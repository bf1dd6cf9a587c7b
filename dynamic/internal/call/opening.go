package call

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/stream"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/clockskew"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// StreamRequest is the request that opens a stream.
type StreamRequest struct {
	// Request holds the settings of the request. Its fields Body and Expected are not used. The
	// timeout of the request is also the timeout of the stream's messages.
	Request

	// SendType and RecvType are the types of the messages.
	SendType, RecvType message.Type
	// Buffer is the capacity of the reader's channel, and Window the size of the send window, both
	// in messages. Buffer must be positive.
	Buffer, Window int
	// OnEnding is called at the end of each attempt to open the stream, unless the attempt failed
	// before the request could be sent. It may be nil.
	OnEnding func(ending *Ending)
}

// maxReopens is the maximum number of retries if the server selected for a stream is shutting down.
const maxReopens = 3

// OpenStream opens a stream and returns it once a server has acknowledged the request. ctx applies
// to the whole life of the stream. The caller must then run [stream.Stream.Run] with [Engine.Go].
//
// A server that shuts down after it has claimed the stream rejects it with ErrStreamEOF. OpenStream
// then tries again, because another server, or the next version of the service, may accept the
// stream.
func (p *Plan) OpenStream(ctx context.Context, r *Route, request *StreamRequest) (*stream.Stream, error) {
	for attempt := 0; ; attempt++ {
		s, err := p.tryOpenStream(ctx, r, request)
		if attempt == maxReopens || !errors.Is(err, errors.ErrStreamEOF) {
			return s, err
		}
	}
}

// tryOpenStream makes one attempt to open a stream. The request is handled like a unary call
// without a message: servers claim it, and the client selects one of them.
func (p *Plan) tryOpenStream(ctx context.Context, r *Route, request *StreamRequest) (*stream.Stream, error) {
	engine := p.engine
	c := newUnaryCall(p, r)
	// The request to open a stream is always sent to all servers, and the servers that want the
	// stream claim it. A queue cannot be used for streams, because it would choose a server for
	// each frame.
	c.chooseSelection(request.Selection, false)
	timeout, _ := engine.Bounds(ctx, c.started, request.Timeout)
	// As in psrpc, the request expires after timeout, even if the deadline of ctx is earlier.
	c.expiry = timeout
	o := &opening{inbox: c.inbox}
	s := p.newStream(ctx, r, request, timeout, o)

	keepalive := engine.config.Keepalive
	if p.method.Routing() == registry.RoutingMulti {
		keepalive = 0
	}
	open := wire.Stream{
		StreamID: s.ID(), RequestID: c.inbox.id[:], SentAt: c.started.UnixNano(),
		Expiry: c.started.Add(timeout).UnixNano(), Op: wire.StreamOpen,
		NodeID: engine.wireID, Metadata: request.Metadata, Keepalive: int64(keepalive),
	}
	frame, err := open.AppendFrame(nil)
	if err != nil {
		s.CloseLocally(err)
		return nil, errors.NewErrorf(errors.MalformedRequest, "request to open stream %s cannot be encoded: %w", p.method.FullName(), err)
	}
	if err := engine.streams.add(s); err != nil {
		s.CloseLocally(err)
		if errors.Is(err, stream.ErrExists) {
			return nil, c.withFacts(err, "")
		}
		return nil, c.withFacts(engine.closeError())
	}
	_, err = c.run(ctx, r.streams, frame, timeout)
	if request.OnEnding != nil {
		ending := c.ending(err)
		request.OnEnding(&ending)
	}
	if err != nil {
		c.abortOpening(ctx, s, err)
		return nil, err
	}
	remoteKeepalive := time.Duration(o.keepalive.Load())
	if remoteKeepalive == 0 {
		// A server without keepalives may be a psrpc server, which drops messages for which it has
		// no room. Without a window, Send waits for each acknowledgement.
		s.DisableWindow()
	}
	server := c.server
	o.server.Store(&server)
	s.StartKeepalive(keepalive, remoteKeepalive)
	s.CloseWithContext(ctx)
	return s, nil
}

func (p *Plan) newStream(ctx context.Context, r *Route, request *StreamRequest, timeout time.Duration, o *opening) *stream.Stream {
	engine := p.engine
	shared, streamID := &engine.streams, engine.ids.newStream()
	return stream.New(ctx, stream.Config{
		ID: streamID[:], Method: p.method, Topic: r.Topic, Bus: engine.bus, Remote: r.streams, Timeout: timeout,
		SendType: request.SendType, RecvType: request.RecvType, Buffer: request.Buffer, Window: request.Window,
		Drops: &engine.drops, Decompressed: &shared.decompressed, Dedup: &shared.dedup,
		ClockOffset: new(clockskew.Offset), OnSkew: func() { o.warnClockSkew(p) },
		Ordered: p.method.Routing() != registry.RoutingMulti,
		Release: shared.remove, OpenID: o.inbox.id, Opener: o,
	})
}

// abortOpening closes a stream that could not be opened because of err. If the request was
// published, a server may have accepted the stream, so abortOpening also sends a close frame. As in
// psrpc, that frame contains only the error, without the facts about the call.
func (c *unaryCall) abortOpening(ctx context.Context, s *stream.Stream, err error) {
	defer s.Discard(err)
	if _, ok := errors.FactsOf(err); ok {
		err = errors.Unwrap(err)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if !c.sent {
		s.CloseLocally(err)
		return
	}
	_ = s.Close(err) // The error of Close is ignored, because the caller returns err.
}

// opening holds what a stream keeps of the request that opened it. It implements stream.Opener: it
// puts the acknowledgement or the close frame of the server into the inbox.
type opening struct {
	// inbox is not returned to the pool. Otherwise, an acknowledgement that arrives late could be
	// mistaken for the response to a later call.
	inbox *callInbox
	// keepalive is the keepalive interval that the server has announced, in nanoseconds. It is 0
	// before the acknowledgement has arrived, and if the server has announced none.
	keepalive atomic.Int64
	// server is the ID of the server that was selected. It is empty if the method does not require
	// claims, and nil until the stream is open.
	server atomic.Pointer[string]
}

// warnClockSkew logs a warning about the server's clock. It does nothing if the stream is not open
// yet, because the server is then unknown.
func (o *opening) warnClockSkew(p *Plan) {
	if server := o.server.Load(); server != nil {
		p.engine.streams.warnClockSkew(p.method, *server)
	}
}

// Opened implements stream.Opener. It completes the request to open the stream. With MULTI routing,
// every server sends an acknowledgement, but only the first one has an effect.
func (o *opening) Opened(keepalive time.Duration) {
	o.keepalive.CompareAndSwap(0, int64(keepalive))
	o.inbox.onResponse(wire.Response{})
}

// Refused implements stream.Opener. It makes the request to open the stream fail with the error
// from a close frame. It has no effect if the request has been acknowledged before.
func (o *opening) Refused(err errors.Error) {
	o.inbox.onResponse(wire.Response{Code: string(err.Code()), Error: err.Error(), Details: err.DetailsProto()})
}
