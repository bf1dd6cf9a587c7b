package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
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
		response, err = p.callDirect(ctx, route, request, &o)
	}
	p.afterResponse(ctx, route.Topic, request, response, err)
	return response, err
}

// callDirect sends a request to one server and returns the decoded response. It runs neither hooks
// nor interceptors.
func (p *clientPlan) callDirect(ctx context.Context, r *route, request proto.Message, o *requestOptions) (proto.Message, error) {
	raw, err := p.callUnary(ctx, r, p.requests.Body(request), o)
	if err != nil {
		return nil, err
	}
	return p.decodeResponse(raw)
}

// callUnary sends a request to one server and returns the encoded response. At the end, it sets the
// variables passed to [WithPeer] and [WithFacts] and emits an event about the claims.
func (p *clientPlan) callUnary(ctx context.Context, r *route, request wire.Body, o *requestOptions) ([]byte, error) {
	outgoing := o.outgoing(ctx, request)
	if len(o.serverIDs) == 0 && len(o.facts) == 0 && !p.hasEvents() {
		return p.engine.Call(ctx, &r.Route, &outgoing, nil)
	}
	var ending call.Ending
	response, err := p.engine.Call(ctx, &r.Route, &outgoing, &ending)
	if ending.Facts.RequestID == "" {
		return response, err // the request could not be encoded
	}
	for _, serverID := range o.serverIDs {
		*serverID = ending.Facts.ServerID
	}
	for _, facts := range o.facts {
		*facts = ending.Facts
	}
	p.emitClaim(r, &ending)
	return response, err
}

func (p *clientPlan) decodeResponse(raw []byte) (proto.Message, error) {
	response, err := p.responses.Decode(raw)
	if err != nil {
		return nil, errors.NewErrorf(errors.MalformedResponse, "response of %s: %w", p.method.FullName(), err)
	}
	return response, nil
}

func (p *clientPlan) callInfo(r *route) RPCInfo {
	info := newRPCInfo(p.method, r.Topic)
	info.client = p.conn
	return info
}

func (p *clientPlan) beforeRequest(ctx context.Context, topic []string, request proto.Message) {
	for _, hook := range p.conn.options.requestHooks {
		hook(ctx, request, newRPCInfo(p.method, topic))
	}
}

func (p *clientPlan) afterResponse(ctx context.Context, topic []string, request, response proto.Message, err error) {
	for _, hook := range p.conn.options.responseHooks {
		hook(ctx, request, newRPCInfo(p.method, topic), response, err)
	}
}
