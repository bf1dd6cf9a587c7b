package dynamic

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// newClientPlan returns a plan for the method. It first waits until the conn has subscribed to the
// replies of the method's service. It may also send a discovery request, so that the conn knows the
// servers before the first call.
func newClientPlan[Req, Resp proto.Message](
	ctx context.Context, engine *call.Engine, options *connOptions, method *registry.Method,
) (*clientPlan, error) {
	requests, err := message.Resolve[Req](method.Service(), method.Input())
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "client of %s: request type: %w", method.FullName(), err)
	}
	responses, err := message.Resolve[Resp](method.Service(), method.Output())
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "client of %s: response type: %w", method.FullName(), err)
	}
	calls, err := engine.NewPlan(ctx, method)
	if err != nil {
		return nil, errors.NewErrorf(errors.FromContext(err).Code(),
			"client of %s: cannot subscribe to responses: %w", method.FullName(), err)
	}
	p := &clientPlan{
		calls: calls, engine: engine, options: options, method: method, requests: requests, responses: responses,
	}
	if !method.Topics() {
		if p.defaultRoute, err = p.newRoute(nil); err != nil {
			return nil, err
		}
		p.calls.Discover(&p.defaultRoute.Route)
	}
	return p, nil
}

func (p *clientPlan) newRoute(topic []string) (r *route, err error) {
	r = &route{Route: p.calls.NewRoute(topic)}
	if len(p.options.interceptors.rpc) > 0 && p.method.Kind() == registry.KindSingle {
		r.handler, err = p.newHandler(r)
	}
	return r, err
}

// route returns the route for a call. A topic in the call's options takes precedence over bound,
// the route for the client's topic. If there is neither, the result is the default route, or an
// error if the method requires a topic.
func (p *clientPlan) route(bound *route, o *requestOptions) (*route, error) {
	switch {
	case o.hasTopic:
		return p.topicRoute(o.topic)
	case bound != nil:
		return bound, nil
	case p.defaultRoute != nil:
		return p.defaultRoute, nil
	default:
		return nil, transport.CheckTopic(p.method, nil, false)
	}
}

func (p *clientPlan) topicRoute(parts []string) (*route, error) {
	if err := transport.CheckTopic(p.method, parts, p.options.allowEmptyParts); err != nil {
		return nil, err
	}
	return p.newRoute(parts)
}

// newHandler returns the handler for single calls on route r. A request passes through the
// interceptors of the conn and then through those of the call before it is sent.
func (p *clientPlan) newHandler(r *route) (ClientRPCHandler, error) {
	info := p.callInfo(r)
	send := func(ctx context.Context, request proto.Message, opts ...RequestOption) (proto.Message, error) {
		o := newRequestOptions(opts)
		return p.send(ctx, r, request, &o)
	}
	return chain(p.options.interceptors.rpc, info, func(
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
	return p.decodeResponse(p.callUnary(ctx, r, p.requests.Body(request), o))
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
