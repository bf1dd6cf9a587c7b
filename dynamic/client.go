package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Client calls one method of a service through a [Conn]. Req and Resp are the request and response
// types of the method. They can be generated types, *dynamicpb.Message, or proto.Message. A Client
// is safe for concurrent use.
type Client[Req, Resp proto.Message] struct {
	plan *clientPlan
	// bound is the route for the topic that was set with the method Topic. It is nil if no topic
	// was set.
	bound *route
	// err is the error of a failed call to Topic. All calls made with the client return it.
	err error
}

// NewClient returns a client for the method whose full name is name, such as
// "my.pkg.MyService/NormalRPC". When NewClient returns, the conn has subscribed to the responses.
//
// If the conn's registry has no such method, NewClient fails with the code [errors.Unimplemented].
// If Req or Resp does not match the method, it fails with [errors.InvalidArgument]. If the conn is
// closed, it fails with [errors.ErrClientClosed]. If the subscription fails, the error has the same
// code as the error of the bus.
func NewClient[Req, Resp proto.Message](c *Conn, name string) (*Client[Req, Resp], error) {
	method, err := c.lookUpMethod(name)
	if err != nil {
		return nil, err
	}
	return NewMethodClient[Req, Resp](c, method)
}

// NewMethodClient is like [NewClient], but takes the method itself. The method need not be in the
// conn's registry.
func NewMethodClient[Req, Resp proto.Message](c *Conn, method *registry.Method) (*Client[Req, Resp], error) {
	if c == nil || method == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "cannot create client: the conn or the method is nil")
	}
	plan, err := newClientPlan[Req, Resp](context.Background(), c.engine, &c.options, method)
	if err != nil {
		return nil, err
	}
	return &Client[Req, Resp]{plan: plan}, nil
}

// Topic returns a client for the same method that is bound to a topic. The parts must be in the
// order of the method's topic parameters. If the number of parts is wrong or a part is empty, every
// call made with the returned client fails with the code [errors.InvalidArgument].
// [AllowEmptyTopicParts] allows some empty parts.
func (c *Client[Req, Resp]) Topic(parts ...string) *Client[Req, Resp] {
	bound, err := c.plan.topicRoute(parts)
	return &Client[Req, Resp]{plan: c.plan, bound: bound, err: err}
}

// Call sends a request to one server and returns its response. The request must not be modified
// until Call returns. The response belongs to the caller.
//
// All errors have a code; see [errors.Error]. An error returned by the server keeps the server's
// code, text and details. The function [errors.FactsOf] returns diagnostic facts about the call for
// the following errors:
//
//   - [errors.Unavailable], immediately and with the reason [errors.ReasonNobodyListening], if the
//     bus knows that the method has no server;
//   - [errors.Unavailable] if no server accepted the request or confirmed it in time;
//   - [errors.DeadlineExceeded] if the timeout of the call passed in any other situation, and
//     [errors.Canceled] if ctx was canceled;
//   - [errors.ResourceExhausted] if the request is too large for the bus;
//   - [errors.Unavailable] if the bus is down.
//
// A request for a method with affinity routing may be declined by every server. The call then fails
// as soon as the client knows that all servers have declined, and at the latest when the selection
// times out; see [SelectionOpts].
func (c *Client[Req, Resp]) Call(ctx context.Context, request Req, opts ...RequestOption) (Resp, error) {
	var zero Resp
	if c.err != nil {
		return zero, c.err
	}
	response, err := c.plan.call(ctx, c.bound, request, opts)
	if err != nil {
		return zero, err
	}
	return response.(Resp), nil
}

// OpenStream opens a stream and returns when a server has accepted it. The stream goes to one
// server or, with MULTI routing, to all servers. If it goes to all servers, only the first
// acknowledgement of each frame counts. ctx applies to the whole life of the stream: when ctx ends,
// the stream is closed with the error of ctx.
//
// OpenStream returns the same errors as [Client.Call]. The timeout of the call also applies to each
// message sent on the stream; see [WithStreamTimeout].
func (c *Client[Req, Resp]) OpenStream(ctx context.Context, opts ...RequestOption) (ClientStream[Req, Resp], error) {
	if c.err != nil {
		return nil, c.err
	}
	o := newRequestOptions(withDefaults(c.plan.options.streamDefaults, opts))
	return openStream[Req, Resp](ctx, c.plan, c.bound, &o)
}

// Subscribe subscribes to the updates of the method. With MULTI routing, every subscriber receives
// every update; otherwise, each update goes to only one subscriber. When Subscribe returns, the bus
// has confirmed the subscription. If ctx ends before the confirmation, Subscribe fails. If ctx ends
// later, the subscription ends.
//
// A subscriber that reads too slowly loses updates, but does not hold up other subscribers; see
// [WithOverflow].
func (c *Client[Req, Resp]) Subscribe(ctx context.Context, opts ...RequestOption) (Subscription[Resp], error) {
	if c.err != nil {
		return nil, c.err
	}
	o := newRequestOptions(withDefaults(c.plan.options.subscriptionDefaults, opts))
	return subscribe[Resp](ctx, c.plan, c.bound, &o)
}
