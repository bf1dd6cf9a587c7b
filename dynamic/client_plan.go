package dynamic

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// clientPlan holds everything about one method on a conn that does not change between calls. Types
// and channels are resolved once, so that a call need not resolve them. A clientPlan is immutable.
type clientPlan struct {
	conn      *Conn
	method    *registry.Method
	requests  message.Type
	responses message.Type
	// defaultRoute is nil if the method has topics.
	defaultRoute *route
}

// newClientPlan returns the plan of a method, after the conn has subscribed to the replies of the
// method's service.
func newClientPlan[Req, Resp proto.Message](ctx context.Context, c *Conn, method *registry.Method) (*clientPlan, error) {
	requests, err := message.Resolve[Req](method.Input())
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "client of %s: request type: %w", method.FullName(), err)
	}
	responses, err := message.Resolve[Resp](method.Output())
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "client of %s: response type: %w", method.FullName(), err)
	}
	if _, err := c.subscribeReplies(ctx, method.Service()); err != nil {
		return nil, errors.NewErrorf(errors.FromContext(err).Code(),
			"client of %s: cannot subscribe to responses: %w", method.FullName(), err)
	}
	p := &clientPlan{conn: c, method: method, requests: requests, responses: responses}
	if !method.Topics() {
		if p.defaultRoute, err = p.newRoute(nil); err != nil {
			return nil, err
		}
	}
	return p, nil
}

var (
	kindNouns = map[registry.Kind]string{
		registry.KindSingle: "single call", registry.KindMulti: "multi call",
		registry.KindStream: "stream", registry.KindSubscription: "subscription",
	}
	kindVerbs = map[registry.Kind]string{
		registry.KindSingle: "Call or Invoke", registry.KindMulti: "CallMulti or InvokeMulti",
		registry.KindStream: "OpenStream or InvokeStream", registry.KindSubscription: "Subscribe or InvokeSubscribe",
	}
)

// check returns an error if the method is not of this kind. The error names the functions to use.
func (p *clientPlan) check(kind registry.Kind) error {
	if actual := p.method.Kind(); actual != kind {
		return errors.NewErrorf(errors.InvalidArgument, "method %s is a %s, not a %s: use %s",
			p.method.FullName(), kindNouns[actual], kindNouns[kind], kindVerbs[actual])
	}
	return nil
}

// resolveCall checks the method, the request and the options of a call, and returns its route.
func (p *clientPlan) resolveCall(kind registry.Kind, bound *route, request proto.Message, o *requestOptions) (*route, error) {
	if err := p.check(kind); err != nil {
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

// call sends a request to one server and returns the decoded response. The hooks run outside of the
// interceptors.
func (p *clientPlan) call(
	ctx context.Context, bound *route, request proto.Message, opts []RequestOption,
) (response proto.Message, err error) {
	o := newRequestOptions(opts)
	route, err := p.resolveCall(registry.KindSingle, bound, request, &o)
	if err != nil {
		return nil, err
	}
	p.beforeRequest(ctx, route, request)
	if route.handler != nil || o.interceptors != nil {
		response, err = p.callIntercepted(ctx, route, request, opts)
	} else {
		response, err = p.callDirect(ctx, route, request, &o)
	}
	p.afterResponse(ctx, route, request, response, err)
	return response, err
}

// callDirect sends a request to one server, without hooks and interceptors, and returns the decoded
// response.
func (p *clientPlan) callDirect(ctx context.Context, r *route, request proto.Message, o *requestOptions) (proto.Message, error) {
	raw, err := p.callUnary(ctx, r, request, o)
	if err != nil {
		return nil, err
	}
	return p.decodeResponse(raw)
}

func (p *clientPlan) decodeResponse(raw []byte) (proto.Message, error) {
	response, err := p.responses.Decode(raw)
	if err != nil {
		return nil, errors.NewErrorf(errors.MalformedResponse, "response of %s: %w", p.method.FullName(), err)
	}
	return response, nil
}

func (p *clientPlan) callInfo(r *route) RPCInfo {
	info := newRPCInfo(p.method, r.topic)
	info.conn = p.conn
	return info
}

func (p *clientPlan) beforeRequest(ctx context.Context, r *route, request proto.Message) {
	for _, hook := range p.conn.options.requestHooks {
		hook(ctx, request, newRPCInfo(p.method, r.topic))
	}
}

func (p *clientPlan) afterResponse(ctx context.Context, r *route, request, response proto.Message, err error) {
	for _, hook := range p.conn.options.responseHooks {
		hook(ctx, request, newRPCInfo(p.method, r.topic), response, err)
	}
}

// decodeUpdate returns the message and metadata in the frame of an update. It returns false if the
// frame is malformed or holds a message of another type.
func (p *clientPlan) decodeUpdate(frame []byte) (message proto.Message, metadata map[string]string, ok bool) {
	envelope, err := wire.ParseEnvelope(frame)
	if err != nil || string(envelope.TypeName) != string(p.responses.Name) {
		return nil, nil, false
	}
	value, err := transport.Decompress(envelope.Value, p.conn.options.maxFrameSize)
	if err != nil {
		return nil, nil, false
	}
	message, err = p.responses.Decode(value)
	return message, envelope.Metadata, err == nil
}
