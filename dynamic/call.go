package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// resolveCall validates the arguments of a call. It returns the route, which holds the channels
// that the call uses. bound is the route for the client's topic, or nil if the client has no topic;
// see [Client.Topic].
func (p *clientPlan) resolveCall(
	ctx context.Context, kind registry.Kind, bound *route, request proto.Message, o *requestOptions,
) (*route, error) {
	if err := p.check(ctx, kind); err != nil {
		return nil, err
	}
	if err := p.requests.Check(request); err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "request of %s: %w", p.method.FullName(), err)
	}
	if o.interceptors != nil && o.interceptors.err != nil {
		return nil, o.interceptors.err
	}
	return p.route(bound, o)
}

// call sends a request to one server and returns the decoded response. The request passes through
// the request hooks and then through the interceptors. The response hooks run last.
func (p *clientPlan) call(
	ctx context.Context, bound *route, request proto.Message, opts []RequestOption,
) (response proto.Message, err error) {
	o := newRequestOptions(opts)
	route, err := p.resolveCall(ctx, registry.KindSingle, bound, request, &o)
	if err != nil {
		return nil, err
	}
	p.beforeRequest(ctx, route.Topic, request)
	if route.handler != nil || o.interceptors != nil {
		response, err = p.callIntercepted(ctx, route, request, opts)
	} else {
		response, err = p.decodeResponse(p.callUnary(ctx, route, p.requests.Body(request), &o))
	}
	p.afterResponse(ctx, route.Topic, request, response, err)
	return response, err
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

func (p *clientPlan) beforeRequest(ctx context.Context, topic []string, request proto.Message) {
	for _, hook := range p.options.requestHooks {
		hook(ctx, request, newRPCInfo(p.method, topic))
	}
}

func (p *clientPlan) afterResponse(ctx context.Context, topic []string, request, response proto.Message, err error) {
	for _, hook := range p.options.responseHooks {
		hook(ctx, request, newRPCInfo(p.method, topic), response, err)
	}
}
