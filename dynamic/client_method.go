package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// clientMethod is the plan of one method on a conn; immutable.
type clientMethod struct {
	conn      *Conn
	method    *registry.Method
	requests  messageType
	responses messageType
	untopical *route // nil if the method has topics
}

// newClientMethod makes the plan and lets the conn listen for answers.
func newClientMethod[Req, Resp proto.Message](ctx context.Context, c *Conn, method *registry.Method) (*clientMethod, error) {
	requests, err := resolveMessageType[Req](method.Input())
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "client of %s: request type: %w", method.FullName(), err)
	}
	responses, err := resolveMessageType[Resp](method.Output())
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "client of %s: response type: %w", method.FullName(), err)
	}
	if _, err := c.service(ctx, method.Service()); err != nil {
		return nil, errors.NewErrorf(errors.FromContext(err).Code(),
			"client of %s: the bus does not let it listen: %w", method.FullName(), err)
	}
	m := &clientMethod{conn: c, method: method, requests: requests, responses: responses}
	if !method.Topics() {
		if m.untopical, err = m.newRoute(nil); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// method looks a method up in the conn's registry.
func (c *Conn) method(name string) (*registry.Method, error) {
	method, ok := c.registry.Method(name)
	if !ok {
		return nil, errors.NewErrorf(errors.Unimplemented,
			"method %s is not in the conn's registry; names look like my.pkg.MyService/MyMethod%s",
			name, suggest(name, c.knownMethods(), (*registry.Method).FullName))
	}
	return method, nil
}

func (c *Conn) knownMethods() (methods []*registry.Method) {
	for _, service := range c.registry.Services() {
		methods = append(methods, service.Methods()...)
	}
	return methods
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

// check returns an error unless the method is of this kind.
func (m *clientMethod) check(kind registry.Kind) error {
	if actual := m.method.Kind(); actual != kind {
		return errors.NewErrorf(errors.InvalidArgument, "method %s is a %s, not a %s: use %s",
			m.method.FullName(), kindNouns[actual], kindNouns[kind], kindVerbs[actual])
	}
	return nil
}

// prepare checks what a call is given, and returns where it goes.
func (m *clientMethod) prepare(kind registry.Kind, bound *route, request proto.Message, o *requestOptions) (*route, error) {
	if err := m.check(kind); err != nil {
		return nil, err
	}
	if err := m.requests.check(request); err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "request of %s: %w", m.method.FullName(), err)
	}
	if o.interceptors != nil && o.interceptors.err != nil {
		return nil, o.interceptors.err
	}
	return m.route(bound, o)
}

// call sends one request to one server and returns the response, decoded. The hooks are outside of the interceptors.
func (m *clientMethod) call(
	ctx context.Context, bound *route, request proto.Message, opts []RequestOption,
) (response proto.Message, err error) {
	o := newRequestOptions(opts)
	route, err := m.prepare(registry.KindSingle, bound, request, &o)
	if err != nil {
		return nil, err
	}
	m.beforeRequest(ctx, route, request)
	if route.handler != nil || o.interceptors != nil {
		response, err = m.callThrough(ctx, route, request, opts)
	} else {
		response, err = m.exchange(ctx, route, request, &o)
	}
	m.afterResponse(ctx, route, request, response, err)
	return response, err
}

// exchange sends a request and returns the response, decoded.
func (m *clientMethod) exchange(ctx context.Context, r *route, request proto.Message, o *requestOptions) (proto.Message, error) {
	raw, err := m.roundTrip(ctx, r, request, o)
	if err != nil {
		return nil, err
	}
	return m.decodeResponse(raw)
}

func (m *clientMethod) decodeResponse(raw []byte) (proto.Message, error) {
	response, err := m.responses.decode(raw)
	if err != nil {
		return nil, errors.NewErrorf(errors.MalformedResponse, "response of %s: %w", m.method.FullName(), err)
	}
	return response, nil
}
