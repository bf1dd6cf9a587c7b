package dynamic

import (
	"cmp"
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
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
	request := p.streamRequest(ctx, route, o)
	s, err := p.calls.OpenStream(ctx, &route.Route, &request)
	if err != nil {
		chain.Finish(err)
		return nil, err
	}
	typed := newTypedStream[Send, Recv](s, chain)
	chain.attach(s)
	// The engine tracks the goroutine that delivers messages, so that Conn.Close waits for it.
	if err := p.engine.Go(s.Run); err != nil {
		// The conn is closing. It no longer finds this stream once Discard has released it, so the
		// stream must be closed here.
		_ = s.Close(nil)
		s.Discard(err)
		return nil, err
	}
	return typed, nil
}

// streamChain builds the handler chain of a stream from the interceptors of the conn, followed by
// those in the request options. It returns nil if there are no interceptors.
func (p *clientPlan) streamChain(ctx context.Context, r *route, o *requestOptions) (*streamChain, error) {
	options := p.options
	interceptors := options.interceptors.stream
	if o.interceptors != nil {
		if err := o.interceptors.err; err != nil {
			return nil, err
		}
		interceptors = slices.Concat(interceptors, o.interceptors.stream)
	}
	return newStreamChain(ctx, options.panics(), interceptors, newRPCInfo(p.method, r.Topic))
}

// streamRequest returns the request that opens a stream.
func (p *clientPlan) streamRequest(ctx context.Context, r *route, o *requestOptions) call.StreamRequest {
	request := call.StreamRequest{
		Request: o.outgoing(ctx, wire.Body{}), SendType: p.requests, RecvType: p.responses,
		Buffer: cmp.Or(o.bufferSize, DefaultStreamBuffer), Window: o.window,
	}
	if p.hasEvents() {
		request.OnEnding = func(ending *call.Ending) { p.emitClaim(r, ending) }
	}
	return request
}
