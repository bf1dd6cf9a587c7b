package dynamic

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// clientMethod is the plan of one method on a conn; immutable.
type clientMethod struct {
	conn      *Conn
	method    *registry.Method
	requests  messageType
	responses messageType
	route     route // without a topic
}

// route is the channels to which the calls of a method go, for one topic.
type route struct {
	topic            []string
	requests, grants bus.Channel
}

func newRoute(method *registry.Method, topic []string) route {
	service, name := method.Service().WireName(), method.WireName()
	return route{
		topic:    topic,
		requests: bus.Channel(wire.RequestChannel(service, name, topic, method.Queue())),
		grants:   bus.Channel(wire.ClaimResponseChannel(service, name, topic)),
	}
}

// newClientMethod makes the plan and lets the conn listen for answers.
func newClientMethod[Req, Resp proto.Message](c *Conn, method *registry.Method) (*clientMethod, error) {
	requests, err := resolveMessageType[Req](method.Input())
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "client of %s: request type: %w", method.FullName(), err)
	}
	responses, err := resolveMessageType[Resp](method.Output())
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "client of %s: response type: %w", method.FullName(), err)
	}
	if _, err := c.service(method.Service()); err != nil {
		return nil, fmt.Errorf("client of %s: the bus does not let it listen: %w", method.FullName(), err)
	}
	return &clientMethod{
		conn: c, method: method, requests: requests, responses: responses, route: newRoute(method, nil),
	}, nil
}

// method looks a method up in the conn's registry.
func (c *Conn) method(name string) (*registry.Method, error) {
	method, ok := c.registry.Method(name)
	if !ok {
		return nil, errors.NewErrorf(errors.Unimplemented,
			"method %s is not in the conn's registry; names look like my.pkg.MyService/MyMethod", name)
	}
	return method, nil
}

// checkSingle returns an error unless Call is the way to use the method.
func (m *clientMethod) checkSingle() error {
	if kind := m.method.Kind(); kind != registry.KindSingle {
		return errors.NewErrorf(errors.InvalidArgument, "method %s is a %s, not a single call", m.method.FullName(), kind)
	}
	return nil
}

// call sends one request and returns the response, decoded.
func (m *clientMethod) call(ctx context.Context, request proto.Message, o requestOptions) (proto.Message, error) {
	if err := m.requests.check(request); err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "request of %s: %w", m.method.FullName(), err)
	}
	raw, err := m.roundTrip(ctx, &m.route, wire.Body{Message: request}, o)
	if err != nil {
		return nil, err
	}
	response, err := m.responses.decode(raw)
	if err != nil {
		return nil, errors.NewErrorf(errors.MalformedResponse, "response of %s: %w", m.method.FullName(), err)
	}
	return response, nil
}
