package dynamic

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"
)

// newHandler returns the handler for single calls on route r. A request passes through the
// interceptors of the conn and then through those of the call before it is sent.
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

// send checks a request that has passed through all interceptors, and sends it.
func (p *clientPlan) send(ctx context.Context, r *route, request proto.Message, o *requestOptions) (proto.Message, error) {
	r, err := p.resolveIntercepted(r, request, o)
	if err != nil {
		return nil, err
	}
	return p.callDirect(ctx, r, request, o)
}

// resolveIntercepted checks a request and options that have passed through all interceptors, and
// returns the route for the request. The route differs from r if an interceptor has set another
// topic.
func (p *clientPlan) resolveIntercepted(r *route, request proto.Message, o *requestOptions) (*route, error) {
	if o.interceptors != nil && o.interceptors.err != nil {
		return nil, o.interceptors.err
	}
	if err := p.requests.CheckName(request); err != nil {
		return nil, wrongMessage("request", p.method, err)
	}
	if !o.hasTopic || slices.Equal(o.topic, r.Topic) {
		return r, nil
	}
	return p.topicRoute(o.topic)
}

// callIntercepted makes a single call through the interceptors. An error that it returns always has
// a code.
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
