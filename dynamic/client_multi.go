package dynamic

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Response is the response from one server to a multi call.
type Response[Resp proto.Message] struct {
	// Result is the server's message. It is set only if Err is nil.
	Result Resp
	// Err is the error that the server returned. If Err is set and ServerID is empty, the call as a
	// whole has failed, and this is the last response. For example, the method has no server, the
	// bus is down, or the conn was closed.
	Err error
	// ServerID is the ID of the server that sent the response.
	ServerID string
}

// CallMulti sends a request to every server and returns a channel of their responses. The channel
// is closed when one of the following happens:
//
//   - The expected number of servers, set with [WithExpectedResponses], has answered.
//   - All servers that the client knows have answered; see below.
//   - The timeout of the call passes.
//   - ctx ends.
//   - The call as a whole fails; see [Response].
//
// The in-process bus and Redis count the servers that get a request. NATS, and a Redis Cluster
// without sharded pub/sub, do not. There, the client knows the servers that have announced
// themselves. psrpc servers do not announce themselves, so the client knows a psrpc server only if
// it answered the previous call. If no server has announced itself, there may always be further
// psrpc servers, so the call lasts until its timeout. On every bus, a call also lasts until its
// timeout if one of the servers that the bus has counted, or that the client knows, does not
// answer. Later calls no longer wait for that server, unless it answers again.
//
// A caller that stops reading does not hold up other calls. Responses that have not been read
// before the timeout may be dropped. CallMulti returns an error if the request could not be sent;
// see [Client.Call].
func (c *Client[Req, Resp]) CallMulti(ctx context.Context, request Req, opts ...RequestOption) (<-chan *Response[Resp], error) {
	multi, err := c.startMulti(ctx, request, opts)
	if err != nil {
		return nil, err
	}
	responses := make(chan *Response[Resp], 16)
	// engine.Go starts the goroutine in such a way that Conn.Close waits for it.
	err = c.plan.engine.Go(func() {
		defer close(responses)
		defer multi.stop()
		for {
			response, ok := nextResponse[Resp](ctx, multi)
			if !ok || !call.Deliver(ctx, multi.call, responses, response) {
				return
			}
		}
	})
	if err != nil {
		multi.stop()
		return nil, err
	}
	return responses, nil
}

// Responses is like [Client.CallMulti] but returns an iterator. The request is sent when the loop
// begins, and the call ends when the loop ends. Leaving the loop early does not cancel the handlers
// of servers that have not answered yet. To cancel the handlers, cancel ctx and let the iterator
// end the loop. If the request cannot be sent, the iterator yields a single response with the
// error.
func (c *Client[Req, Resp]) Responses(ctx context.Context, request Req, opts ...RequestOption) iter.Seq[*Response[Resp]] {
	return func(yield func(*Response[Resp]) bool) {
		multi, err := c.startMulti(ctx, request, opts)
		if err != nil {
			yield(&Response[Resp]{Err: err})
			return
		}
		defer multi.stop()
		for {
			response, ok := nextResponse[Resp](ctx, multi)
			if !ok || !yield(response) {
				return
			}
		}
	}
}

func (c *Client[Req, Resp]) startMulti(ctx context.Context, request Req, opts []RequestOption) (multi multiCall, err error) {
	if c.err != nil {
		return multi, c.err
	}
	return c.plan.callMulti(ctx, c.bound, request, opts)
}

// multiCall is a multi call of a client.
type multiCall struct {
	call *call.Multi
	plan *clientPlan
	// topic holds the parts of the topic.
	topic []string
	// request is the request that the caller has passed, before the interceptors.
	request proto.Message
	// chain passes requests and responses through the interceptors. It is nil if there are none.
	chain *multiChain
}

// stop ends the call. It must be called when the call is no longer needed.
func (c multiCall) stop() {
	if c.chain != nil {
		c.chain.close()
	}
	c.call.Stop()
}

// receive waits for the next response, passes it through the interceptors, if any, and returns the
// decoded response. It returns false if there are no more responses.
func (c multiCall) receive(ctx context.Context) (received serverResponse, ok bool) {
	if c.chain != nil {
		return c.chain.next(ctx, c.call)
	}
	response, ok := c.call.Next(ctx)
	if !ok {
		return serverResponse{}, false
	}
	return c.plan.decodeServerResponse(&response), true
}

// nextResponse waits for the next response, runs the response hooks, and returns the response. It
// returns false if there are no more responses.
func nextResponse[Resp proto.Message](ctx context.Context, multi multiCall) (*Response[Resp], bool) {
	received, ok := multi.receive(ctx)
	if !ok {
		return nil, false
	}
	multi.plan.afterResponse(ctx, multi.topic, multi.request, received.message, received.err)
	response := &Response[Resp]{Err: received.err, ServerID: received.serverID}
	if received.message != nil {
		response.Result = received.message.(Resp)
	}
	return response, true
}

// callMulti validates a request and sends it to every server. It calls the request hooks before the
// interceptors. If the request cannot be sent, callMulti also calls the response hooks.
func (p *clientPlan) callMulti(
	ctx context.Context, bound *route, request proto.Message, opts []RequestOption,
) (multi multiCall, err error) {
	o := newRequestOptions(opts)
	route, err := p.resolveCall(ctx, registry.KindMulti, bound, request, &o)
	if err != nil {
		return multi, err
	}
	multi = multiCall{plan: p, topic: route.Topic, request: request}
	p.beforeRequest(ctx, route.Topic, request)
	if interceptors := p.multiInterceptors(&o); len(interceptors) > 0 {
		multi.call, multi.chain, err = p.startMultiIntercepted(ctx, route, request, opts, interceptors)
	} else {
		multi.call, err = p.startMulti(ctx, route, request, &o)
	}
	if err != nil {
		p.afterResponse(ctx, route.Topic, request, nil, err)
	}
	return multi, err
}
