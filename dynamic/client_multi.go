package dynamic

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Response is what one server answered to a multi call.
type Response[Resp proto.Message] struct {
	// Result is the response, if Err is nil.
	Result Resp
	// Err is the server's error; or, in a last response without a ServerID, why the call failed as a whole: nobody
	// listens, the bus is down, the conn was closed.
	Err error
	// ServerID is the server that answered.
	ServerID string
}

// CallMulti sends a request to every server and returns a channel on which their responses come. The channel is
// closed when all have answered, as far as the bus, the servers and earlier calls tell how many there are; when those
// that [WithExpectedResponses] asks for have; when the call's timeout is over; or when ctx ends. A caller that stops
// reading holds up nobody; what it has not read by the timeout is dropped.
//
// It returns an error if the request could not be sent, see [Client.Call].
func (c *Client[Req, Resp]) CallMulti(ctx context.Context, request Req, opts ...RequestOption) (<-chan *Response[Resp], error) {
	call, err := c.startMulti(ctx, request, opts)
	if err != nil {
		return nil, err
	}
	responses := make(chan *Response[Resp], 16)
	err = c.plan.conn.goTracked(func() { // Conn.Close waits for it
		defer close(responses)
		defer call.stop()
		for {
			response, ok := nextResponse[Resp](ctx, call)
			if !ok || !deliver(ctx, call, responses, response) {
				return
			}
		}
	})
	if err != nil {
		call.stop()
		return nil, err
	}
	return responses, nil
}

// deliver reports false if the call ended before the caller took the response.
func deliver[T any](ctx context.Context, call *multiCall, responses chan<- T, response T) bool {
	select {
	case responses <- response: // even if the call has ended, as long as there is room
		return true
	default:
	}
	select {
	case responses <- response:
		return true
	case <-call.timer.C:
	case <-ctx.Done():
		call.plan.cancel(call.id)
	case <-call.plan.conn.ctx.Done():
	}
	return false
}

// Responses is CallMulti as a sequence: the request is sent when the loop begins, and the call ends with the loop.
// Leaving the loop early does not end what other servers do; cancelling ctx does.
// If the request could not be sent, that is the error of the only response.
func (c *Client[Req, Resp]) Responses(ctx context.Context, request Req, opts ...RequestOption) iter.Seq[*Response[Resp]] {
	return func(yield func(*Response[Resp]) bool) {
		call, err := c.startMulti(ctx, request, opts)
		if err != nil {
			yield(&Response[Resp]{Err: err})
			return
		}
		defer call.stop()
		for {
			response, ok := nextResponse[Resp](ctx, call)
			if !ok || !yield(response) {
				return
			}
		}
	}
}

func (c *Client[Req, Resp]) startMulti(ctx context.Context, request Req, opts []RequestOption) (*multiCall, error) {
	if c.err != nil {
		return nil, c.err
	}
	return c.plan.callMulti(ctx, c.bound, request, opts)
}

// callMulti checks and sends a request to every server. The hooks are outside of the interceptors.
func (p *clientPlan) callMulti(
	ctx context.Context, bound *route, request proto.Message, opts []RequestOption,
) (call *multiCall, err error) {
	o := newRequestOptions(opts)
	route, err := p.resolveCall(registry.KindMulti, bound, request, &o)
	if err != nil {
		return nil, err
	}
	p.beforeRequest(ctx, route, request)
	if interceptors := p.multiInterceptors(&o); len(interceptors) > 0 {
		call, err = p.startMultiIntercepted(ctx, route, request, opts, interceptors)
	} else {
		call, err = p.startMulti(ctx, route, request, &o)
	}
	if err != nil {
		p.afterResponse(ctx, route, request, nil, err)
	}
	return call, err
}

// nextResponse returns the next server's answer, decoded, or false when no more will come.
func nextResponse[Resp proto.Message](ctx context.Context, call *multiCall) (*Response[Resp], bool) {
	received, ok := call.receive(ctx)
	if !ok {
		return nil, false
	}
	call.plan.afterResponse(ctx, call.route, call.request, received.message, received.err)
	response := &Response[Resp]{Err: received.err, ServerID: received.serverID}
	if received.message != nil {
		response.Result = received.message.(Resp)
	}
	return response, true
}

// receive returns the next answer, decoded, as it comes out of the interceptors.
func (c *multiCall) receive(ctx context.Context) (received serverResponse, ok bool) {
	if c.chain != nil {
		return c.chain.next(ctx, c)
	}
	received, ok = c.next(ctx)
	if ok {
		c.plan.decodeServerResponse(&received)
	}
	return received, ok
}

func (p *clientPlan) decodeServerResponse(received *serverResponse) {
	if received.err == nil {
		received.message, received.err = p.decodeResponse(received.raw)
	}
}
