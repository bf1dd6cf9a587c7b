package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// Client calls one method of a service through a conn. Req and Resp are the request and response
// types of the method: generated types, *dynamicpb.Message, or proto.Message. A Client is safe for
// concurrent use.
type Client[Req, Resp proto.Message] struct {
	plan *clientPlan
	// bound is the route of the topic that the client is bound to. It is nil if there is none.
	bound *route
	// err is the error of a failed Topic. All methods return it.
	err error
}

// NewClient returns a client of the method with this full name, such as
// "my.pkg.MyService/NormalRPC". When it returns, the bus has confirmed the subscription to
// responses.
//
// It fails with the code unimplemented if the conn's registry has no such method, with
// invalid_argument if Req or Resp do not match the method, with errors.ErrClientClosed if the conn
// is closed, and with the code of the bus's error if the bus cannot subscribe.
func NewClient[Req, Resp proto.Message](c *Conn, name string) (*Client[Req, Resp], error) {
	method, err := c.lookUpMethod(name)
	if err != nil {
		return nil, err
	}
	plan, err := newClientPlan[Req, Resp](context.Background(), c, method)
	if err != nil {
		return nil, err
	}
	return &Client[Req, Resp]{plan: plan}, nil
}

// Topic returns a client of the same method that is bound to a topic. The parts are in the order of
// the method's topic parameters. If their number is wrong, every method of the returned client
// fails with the code invalid_argument.
func (c *Client[Req, Resp]) Topic(parts ...string) *Client[Req, Resp] {
	bound, err := c.plan.topicRoute(parts)
	return &Client[Req, Resp]{plan: c.plan, bound: bound, err: err}
}

// Call sends a request to one server and returns its response. The request must not be changed
// until Call returns; the response belongs to the caller.
//
// Errors have a code, see [errors.Error]. If the server returned the error, it has the server's
// code, text and details. The following errors carry facts about the call, see [errors.FactsOf]:
//
//   - unavailable, at once and with the reason errors.ReasonNobodyListening, if the bus knows that
//     the method has no server;
//   - unavailable, if no server took the request; also if the timeout passed during the selection;
//   - deadline_exceeded, if the timeout passed afterwards, and canceled, if ctx was canceled;
//   - resource_exhausted, if the request is too large for the bus;
//   - unavailable, if the bus is down.
//
// If every server declines a request of a method routed by affinity, the call fails at once only if
// the bus counts receivers, or if the same servers answered an earlier call of this method and
// topic. Otherwise it fails at the end of the selection timeout, see [SelectionOpts].
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

// OpenStream opens a stream to one server and returns when a server has accepted it. With MULTI
// routing the stream goes to all servers, and the first acknowledgement of each frame counts. ctx
// governs the whole life of the stream: when it ends, the stream is closed with its error.
//
// The errors are those of [Client.Call]. The timeout of the call is also the timeout of each
// message that is sent, see [WithStreamTimeout].
func (c *Client[Req, Resp]) OpenStream(ctx context.Context, opts ...RequestOption) (ClientStream[Req, Resp], error) {
	if c.err != nil {
		return nil, c.err
	}
	o := newRequestOptions(opts)
	return openStream[Req, Resp](ctx, c.plan, c.bound, &o)
}

// Subscribe subscribes to the updates of the method. With MULTI routing every subscriber receives
// every update, otherwise one of them does. When Subscribe returns, the bus has confirmed the
// subscription. ctx limits the wait for that and governs the life of the subscription.
//
// A subscriber that does not read loses updates, see [WithOverflow], but does not block others.
func (c *Client[Req, Resp]) Subscribe(ctx context.Context, opts ...RequestOption) (Subscription[Resp], error) {
	if c.err != nil {
		return nil, c.err
	}
	o := newRequestOptions(opts)
	return subscribe[Resp](ctx, c.plan, c.bound, &o)
}
