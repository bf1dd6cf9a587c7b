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
	err = c.method.conn.start(func() { // Conn.Close waits for it
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
func deliver[T any](ctx context.Context, call *multiCall, to chan<- T, response T) bool {
	select {
	case to <- response: // even if the call has ended, as long as there is room
		return true
	default:
	}
	select {
	case to <- response:
		return true
	case <-call.timer.C:
	case <-ctx.Done():
		call.method.cancel(call.id)
	case <-call.method.conn.life.Done():
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
	return c.method.callMulti(ctx, c.bound, request, opts)
}

// callMulti checks and sends a request to every server. The hooks are outside of the interceptors.
func (m *clientMethod) callMulti(
	ctx context.Context, bound *route, request proto.Message, opts []RequestOption,
) (call *multiCall, err error) {
	o := newRequestOptions(opts)
	route, err := m.prepare(registry.KindMulti, bound, request, &o)
	if err != nil {
		return nil, err
	}
	m.beforeRequest(ctx, route, request)
	if interceptors := m.multiInterceptors(&o); len(interceptors) > 0 {
		call, err = m.startMultiThrough(ctx, route, request, opts, interceptors)
	} else {
		call, err = m.startMulti(ctx, route, request, &o)
	}
	if err != nil {
		m.afterResponse(ctx, route, request, nil, err)
	}
	return call, err
}

// nextResponse returns the next server's answer, decoded, or false when no more will come.
func nextResponse[Resp proto.Message](ctx context.Context, call *multiCall) (*Response[Resp], bool) {
	answer, ok := call.receive(ctx)
	if !ok {
		return nil, false
	}
	call.method.afterResponse(ctx, call.route, call.request, answer.message, answer.err)
	response := &Response[Resp]{Err: answer.err, ServerID: answer.server}
	if answer.message != nil {
		response.Result = answer.message.(Resp)
	}
	return response, true
}

// receive returns the next answer, decoded, as it comes out of the interceptors.
func (c *multiCall) receive(ctx context.Context) (answer multiResponse, ok bool) {
	if c.chain != nil {
		return c.chain.next(ctx, c)
	}
	answer, ok = c.next(ctx)
	if ok {
		c.method.decodeAnswer(&answer)
	}
	return answer, ok
}

func (m *clientMethod) decodeAnswer(answer *multiResponse) {
	if answer.err == nil {
		answer.message, answer.err = m.decodeResponse(answer.raw)
	}
}
