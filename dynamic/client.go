package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// Client is one method of a service, seen through a conn. Req and Resp are the method's request and response
// types: generated ones, *dynamicpb.Message, or proto.Message.
type Client[Req, Resp proto.Message] struct {
	plan  *clientPlan
	bound *route // to a topic; nil if it is not
	err   error  // why it could not be bound; each use of the client returns it
}

// NewClient returns a client of the method with this full name, such as "my.pkg.MyService/NormalRPC". When it
// returns, the bus has confirmed that answers will arrive.
//
// It fails with the code unimplemented if the conn's registry has no such method, with invalid_argument if Req
// or Resp do not fit it, with errors.ErrClientClosed if the conn is closed, or as the bus does.
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

// Topic returns the same client bound to a topic, whose parts are in the order of the method's topic parameters.
// A wrong number of parts is the error, with the code invalid_argument, of everything done with that client.
func (c *Client[Req, Resp]) Topic(parts ...string) *Client[Req, Resp] {
	bound, err := c.plan.topicRoute(parts)
	return &Client[Req, Resp]{plan: c.plan, bound: bound, err: err}
}

// Call sends a request to one server and returns its response. The request must not change until Call returns;
// the response is the caller's.
//
// An error has a code (see [errors.Error]); one that the server returned has the server's code, text and
// details. Others carry facts (see [errors.FactsOf]): unavailable with errors.ReasonNobodyListening, at once,
// where the bus knows that no server is there; unavailable if no server took the request, also where time ran out
// while one was being chosen; deadline_exceeded if it ran out later; canceled; resource_exhausted for a request that is too large for the bus; unavailable if the bus is down.
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

// OpenStream opens a stream to one server; with MULTI routing to all servers, of which the first one's
// acknowledgements count. It returns when a server has taken the stream. ctx governs the whole life of the stream:
// when it ends, the stream is closed with its error.
//
// It fails as [Client.Call] does, at once where the bus knows that no server is there. The timeout of the call is
// also that of each message, see [WithStreamTimeout].
func (c *Client[Req, Resp]) OpenStream(ctx context.Context, opts ...RequestOption) (ClientStream[Req, Resp], error) {
	if c.err != nil {
		return nil, c.err
	}
	o := newRequestOptions(opts)
	return openStream[Req, Resp](ctx, c.plan, c.bound, &o)
}

// Subscribe joins the subscribers of the method: with MULTI routing each of them gets every update, otherwise one
// of them does. When it returns, the bus has confirmed that updates will arrive. ctx governs the life of the
// subscription, and bounds the wait for the bus.
//
// A subscriber that does not read loses updates (see [WithOverflow]) and holds up nobody.
func (c *Client[Req, Resp]) Subscribe(ctx context.Context, opts ...RequestOption) (Subscription[Resp], error) {
	if c.err != nil {
		return nil, c.err
	}
	o := newRequestOptions(opts)
	return subscribe[Resp](ctx, c.plan, c.bound, &o)
}
