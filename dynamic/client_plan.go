package dynamic

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// clientPlan holds what the calls of one method on a conn have in common. Types and channels are
// looked up only once, when the plan is created. A clientPlan is immutable.
type clientPlan struct {
	// engine sends the requests.
	engine call.Plan
	conn   *Conn
	method *registry.Method
	// defaultRoute is the route for calls without a topic. It is nil if the method has topics.
	defaultRoute *route
	requests     message.Type
	responses    message.Type
}

// route holds the channels on which the client and the servers of one method and topic communicate.
// A route is immutable.
type route struct {
	// handler passes a request through the conn's interceptors and then makes the call. It is set
	// only for single calls, and only if the conn has interceptors for them.
	handler ClientRPCHandler

	call.Route
}

// newClientPlan returns a plan for the method. It first waits until the conn has subscribed to the
// replies of the method's service. It may also send a discovery request, so that the conn knows the
// servers before the first call.
func newClientPlan[Req, Resp proto.Message](ctx context.Context, c *Conn, method *registry.Method) (*clientPlan, error) {
	requests, err := message.Resolve[Req](method.Service(), method.Input())
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "client of %s: request type: %w", method.FullName(), err)
	}
	responses, err := message.Resolve[Resp](method.Service(), method.Output())
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "client of %s: response type: %w", method.FullName(), err)
	}
	engine, err := c.engine.NewPlan(ctx, method)
	if err != nil {
		return nil, errors.NewErrorf(errors.FromContext(err).Code(),
			"client of %s: cannot subscribe to responses: %w", method.FullName(), err)
	}
	p := &clientPlan{engine: engine, conn: c, method: method, requests: requests, responses: responses}
	if !method.Topics() {
		if p.defaultRoute, err = p.newRoute(nil); err != nil {
			return nil, err
		}
		p.engine.Discover(&p.defaultRoute.Route)
	}
	return p, nil
}

func (p *clientPlan) newRoute(topic []string) (r *route, err error) {
	r = &route{Route: p.engine.NewRoute(topic)}
	if len(p.conn.options.interceptors.rpc) > 0 && p.method.Kind() == registry.KindSingle {
		r.handler, err = p.newHandler(r)
	}
	return r, err
}

// route returns the route for a call. If the call's options contain a topic, it returns the route
// for that topic. Otherwise, it returns the argument bound, which is the route for the client's
// topic. If the client has no topic, bound is nil. In that case, the method route returns the
// default route, or an error if the method requires a topic.
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
	if err := transport.CheckTopic(p.method, parts, p.conn.options.allowEmptyParts); err != nil {
		return nil, err
	}
	return p.newRoute(parts)
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

// check returns an error if ctx is nil, or if the kind of the method is not kind. In the latter
// case, the error names the functions that fit the method.
func (p *clientPlan) check(ctx context.Context, kind registry.Kind) error {
	if ctx == nil {
		return nilContextError(p.method.FullName())
	}
	if actual := p.method.Kind(); actual != kind {
		return errors.NewErrorf(errors.InvalidArgument, "method %s is a %s, not a %s: use %s",
			p.method.FullName(), kindNouns[actual], kindNouns[kind], kindVerbs[actual])
	}
	return nil
}

// nilContextError returns the error for a call with a nil context. method is the full name of the
// called method.
func nilContextError(method string) error {
	return errors.NewErrorf(errors.InvalidArgument, "method %s: the context is nil", method)
}
