package dynamic

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

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
//   - Every server has answered, as far as the client knows the servers; see below.
//   - The timeout of the call passes.
//   - ctx ends.
//   - The call as a whole fails; see [Response].
//
// The in-process bus and Redis count the servers that get a request. NATS, and a Redis Cluster
// without sharded pub/sub, do not. There, the client knows the servers that have announced
// themselves. psrpc servers do not announce themselves, so the client knows only those that
// answered the previous call. If no server has announced itself, the client cannot tell whether
// there are further psrpc servers, and the call lasts until its timeout. On every bus, a call also
// lasts until its timeout if it waits for a server that does not answer. Later calls do not wait
// for that server, until it answers one of them.
//
// A caller that stops reading does not hold up other calls. Responses that have not been read
// before the timeout may be dropped. CallMulti returns an error if the request could not be sent;
// see [Client.Call].
func (c *Client[Req, Resp]) CallMulti(ctx context.Context, request Req, opts ...RequestOption) (<-chan *Response[Resp], error) {
	call, err := c.startMulti(ctx, request, opts)
	if err != nil {
		return nil, err
	}
	responses := make(chan *Response[Resp], 16)
	// Conn.Close waits for the goroutine that goTracked starts.
	err = c.plan.conn.goTracked(func() {
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

// deliver sends a response to the caller. It returns false if the call ends first. If ctx ends the
// call, deliver also publishes a cancellation.
func deliver[T any](ctx context.Context, call *multiCall, responses chan<- T, response T) bool {
	// If the channel has room, the response is sent even if the call has ended.
	select {
	case responses <- response:
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

// Responses is like [Client.CallMulti] but returns an iterator. The request is sent when the loop
// begins, and the call ends when the loop ends. Leaving the loop early does not cancel the handlers
// of servers that have not answered yet. To cancel the handlers, cancel ctx and let the iterator
// end the loop. If the request cannot be sent, the iterator yields a single response with the
// error.
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

// nextResponse waits for the next response, runs the response hooks, and returns the response. It
// returns false if there are no more responses.
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

// callMulti validates a request and sends it to every server. It calls the request hooks before the
// interceptors. If the request cannot be sent, callMulti also calls the response hooks.
func (p *clientPlan) callMulti(
	ctx context.Context, bound *route, request proto.Message, opts []RequestOption,
) (call *multiCall, err error) {
	o := newRequestOptions(opts)
	route, err := p.resolveCall(ctx, registry.KindMulti, bound, request, &o)
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
