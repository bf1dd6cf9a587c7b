package dynamic

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"
)

// ClientRPCHandler sends one request of a single call and returns its response. In the end it is the engine, which makes
// a new request, with an id of its own, each time. It takes everything from ctx and the options that a call does:
// timeouts, metadata, a topic.
type ClientRPCHandler func(ctx context.Context, request proto.Message, opts ...RequestOption) (proto.Message, error)

// ClientRPCInterceptor makes the handler of a client's single calls. That calls the next handler, once, several times, or
// not at all, and may put another request, response, context, options or error in place of what it got. A message must
// be of the method's type; its Go type does not matter. Handlers run on the caller's goroutine, to which they may panic.
//
// The interceptor itself is called when a client, or its topic, is made, and with each call that has [WithTopic] or
// [WithRequestInterceptors]; so what calls share belongs outside of it. Its handler may be called from many goroutines.
type ClientRPCInterceptor func(info RPCInfo, next ClientRPCHandler) ClientRPCHandler

// newHandler returns what sends the requests of single calls on a route, through the interceptors of the conn, and then
// those of the request.
func (p *clientPlan) newHandler(r *route) (ClientRPCHandler, error) {
	info := p.callInfo(r)
	send := func(ctx context.Context, request proto.Message, opts ...RequestOption) (proto.Message, error) {
		o := newRequestOptions(opts)
		return p.send(ctx, r, request, &o)
	}
	return chain(p.conn.options.interceptors.rpc, info, func(
		ctx context.Context, request proto.Message, opts ...RequestOption,
	) (proto.Message, error) {
		o := newRequestOptions(opts)
		if o.interceptors == nil {
			return p.send(ctx, r, request, &o)
		}
		handler, err := chain(o.interceptors.rpc, info, send)
		if err != nil {
			return nil, err
		}
		return handler(ctx, request, opts...)
	})
}

// send sends the request that comes out of the interceptors.
func (p *clientPlan) send(ctx context.Context, r *route, request proto.Message, o *requestOptions) (proto.Message, error) {
	r, err := p.resolveIntercepted(r, request, o)
	if err != nil {
		return nil, err
	}
	return p.callDirect(ctx, r, request, o)
}

// resolveIntercepted checks what comes out of the interceptors and returns where it goes: they may have named another topic.
func (p *clientPlan) resolveIntercepted(r *route, request proto.Message, o *requestOptions) (*route, error) {
	if o.interceptors != nil && o.interceptors.err != nil {
		return nil, o.interceptors.err
	}
	if err := p.requests.CheckName(request); err != nil {
		return nil, wrongMessage("request", p.method, err)
	}
	if !o.hasTopic || slices.Equal(o.topic, r.topic) {
		return r, nil
	}
	return p.topicRoute(o.topic)
}

// callIntercepted sends a request through the interceptors.
func (p *clientPlan) callIntercepted(
	ctx context.Context, r *route, request proto.Message, opts []RequestOption,
) (proto.Message, error) {
	handler := r.handler
	if handler == nil {
		var err error
		if handler, err = p.newHandler(r); err != nil {
			return nil, err
		}
	}
	response, err := handler(ctx, request, opts...)
	if err != nil {
		return nil, ensureCode(err)
	}
	if response, err = p.responses.Convert(response); err != nil {
		return nil, wrongMessage("response", p.method, err)
	}
	return response, nil
}
