package dynamic

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// multiChain is the handler chain of one multi call. Requests enter at handlers[0] and leave behind
// the last handler, where the engine starts the call. Responses enter at the last handler and leave
// before handlers[0], where ready buffers them for the caller: an interceptor can produce any
// number of responses for one that it receives.
type multiChain struct {
	plan  *clientPlan
	route *route
	// handlers holds the handlers of the interceptors, the one nearest the caller first.
	handlers []ClientMultiRPCHandler
	// closed holds, for each handler, whether its Close was called.
	closed []atomic.Bool

	mu sync.Mutex
	// sent is true when a request was sent or is being sent.
	sent bool
	// frozen is true when the Send of the caller has returned. No request can be sent then, because
	// no goroutine would read its responses.
	frozen bool
	// call is nil until a request was sent.
	call *multiCall
	// currentServer is the id of the server whose response the handlers are receiving.
	currentServer string
	// ready holds responses for the caller.
	ready []serverResponse
	// done is true when no further response is added to ready.
	done bool
}

// multiStage is the next handler, as seen from the handler at an index of the chain.
type multiStage struct {
	chain *multiChain
	index int
}

func (s multiStage) Send(ctx context.Context, request proto.Message, opts ...RequestOption) error {
	return s.chain.send(s.index+1, ctx, request, opts)
}

func (s multiStage) Recv(response proto.Message, err error) { s.chain.recv(s.index-1, response, err) }

func (s multiStage) Close() { s.chain.closeFrom(s.index - 1) }

// multiInterceptors returns the interceptors of the conn, followed by those of the call.
func (p *clientPlan) multiInterceptors(o *requestOptions) []ClientMultiRPCInterceptor {
	if o.interceptors == nil {
		return p.conn.options.interceptors.multi
	}
	return slices.Concat(p.conn.options.interceptors.multi, o.interceptors.multi)
}

// startMultiIntercepted starts a multi call through the interceptors. The caller must stop the
// call.
func (p *clientPlan) startMultiIntercepted(
	ctx context.Context, r *route, request proto.Message, opts []RequestOption, interceptors []ClientMultiRPCInterceptor,
) (*multiCall, error) {
	c := &multiChain{
		plan: p, route: r,
		handlers: make([]ClientMultiRPCHandler, len(interceptors)), closed: make([]atomic.Bool, len(interceptors)),
	}
	info := p.callInfo(r)
	for i, intercept := range slices.Backward(interceptors) {
		if c.handlers[i] = intercept(info, multiStage{c, i}); c.handlers[i] == nil {
			return nil, errNoHandler(p.method)
		}
	}
	started := false
	defer func() { // The handlers are closed after an error, and after a panic of Send.
		if !started {
			c.close()
		}
	}()
	call, err := c.start(ctx, request, opts)
	if err != nil {
		return nil, ensureCode(err)
	}
	started = true
	return call, nil
}

// start passes the request to the first handler and returns the call. It returns a call also if the
// interceptors sent no request.
func (c *multiChain) start(ctx context.Context, request proto.Message, opts []RequestOption) (call *multiCall, err error) {
	started := false
	defer func() { // The call is stopped if Send fails or panics after the request was sent.
		if !started {
			if call := c.freeze(); call != nil {
				call.stop()
			}
		}
	}()
	if err := c.send(0, ctx, request, opts); err != nil {
		return nil, err
	}
	started = true
	if call = c.freeze(); call == nil {
		call = c.plan.newUnsentMulti(c.route)
	}
	call.chain, call.request = c, request
	return call, nil
}

// newUnsentMulti returns a call without a request, which has no responses of servers.
func (p *clientPlan) newUnsentMulti(r *route) *multiCall {
	return &multiCall{plan: p, route: r, id: id.NewRequest(), done: true, timer: p.conn.timers.Start(DefaultClientTimeout)}
}

// freeze prevents further requests. It returns the call, or nil if no request was sent.
func (c *multiChain) freeze() *multiCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = true
	return c.call
}

// send calls Send of the handler at index. Behind the last handler it starts the call.
func (c *multiChain) send(index int, ctx context.Context, request proto.Message, opts []RequestOption) error {
	if index < len(c.handlers) {
		return c.handlers[index].Send(ctx, request, opts...)
	}
	c.mu.Lock()
	started := c.sent || c.frozen
	c.sent = true
	c.mu.Unlock()
	if started {
		return c.errStarted()
	}
	call, err := c.startCall(ctx, request, opts)
	c.mu.Lock()
	started = c.frozen
	if !started {
		c.sent, c.call = err == nil, call
	}
	c.mu.Unlock()
	// If Send of the caller has returned meanwhile, no goroutine would read the responses.
	if started && err == nil {
		call.stop()
		return c.errStarted()
	}
	return err
}

// errStarted returns the error of a second Send, or of one after the caller's Send has returned.
func (c *multiChain) errStarted() error {
	return errors.NewErrorf(
		errors.Internal, "request of %s was already sent, or Send has returned", c.plan.method.FullName())
}

func (c *multiChain) startCall(ctx context.Context, request proto.Message, opts []RequestOption) (*multiCall, error) {
	o := newRequestOptions(opts)
	r, err := c.plan.resolveIntercepted(c.route, request, &o)
	if err != nil {
		return nil, err
	}
	return c.plan.startMulti(ctx, r, request, &o)
}

// next returns the next response that the interceptors passed to the caller, or false when there
// are no more. It must not be called concurrently.
func (c *multiChain) next(ctx context.Context, call *multiCall) (response serverResponse, ok bool) {
	for {
		if response, ok, done := c.popReady(); ok || done {
			return response, ok
		}
		received, ok := call.next(ctx)
		switch {
		case ok:
			c.forward(&received)
		case call.done:
			c.close()
			c.end()
		}
	}
}

// popReady removes and returns the first response of ready. If there is none, done reports whether
// no further response is added.
func (c *multiChain) popReady() (response serverResponse, ok, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ready) > 0 {
		response, c.ready = c.ready[0], c.ready[1:]
		return response, true, false
	}
	return serverResponse{}, false, c.done
}

// hasReady reports whether next would return without waiting. It is false for a nil chain.
func (c *multiChain) hasReady() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ready) > 0 || c.done
}

// forward passes a server's response to the last handler. A panic of an interceptor ends the call.
func (c *multiChain) forward(received *serverResponse) {
	c.plan.decodeServerResponse(received)
	c.setCurrentServer(received.serverID)
	defer c.setCurrentServer("")
	err := c.plan.conn.panics().guard(context.Background(), c.plan.method, func() error {
		c.recv(len(c.handlers)-1, received.message, received.err)
		return nil
	})
	if err != nil {
		c.setCurrentServer("")
		c.recv(-1, nil, err)
		c.end()
	}
}

func (c *multiChain) setCurrentServer(server string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.currentServer = server
}

// recv calls Recv of the handler at index. Before the first handler it adds the response to ready.
func (c *multiChain) recv(index int, response proto.Message, err error) {
	if index >= 0 {
		if !c.closed[index].Load() {
			c.handlers[index].Recv(response, err)
		}
		return
	}
	if err == nil {
		if response, err = c.plan.responses.Convert(response); err != nil {
			err = wrongMessage("response", c.plan.method, err)
		}
	}
	c.mu.Lock()
	if !c.done {
		received := serverResponse{serverID: c.currentServer, message: response, err: err}
		if err != nil {
			received.message, received.err = nil, ensureCode(err)
		}
		c.ready = append(c.ready, received)
	}
	call := c.call
	c.mu.Unlock()
	notify(call)
}

// end sets done and wakes the caller. Later responses are dropped.
func (c *multiChain) end() {
	c.mu.Lock()
	c.done = true
	call := c.call
	c.mu.Unlock()
	notify(call)
}

// notify wakes the goroutine that waits in next. call is nil if no request was sent yet.
func notify(call *multiCall) {
	if call != nil {
		call.wakeup.Send()
	}
}

// close calls Close of every handler on which it was not called before. It recovers and logs
// panics.
func (c *multiChain) close() {
	for i := range slices.Backward(c.handlers) {
		_ = c.plan.conn.panics().guard(context.Background(), c.plan.method, func() error {
			c.closeFrom(i)
			return nil
		})
	}
}

// closeFrom calls Close of the handler at index, unless it was called before. That handler passes
// the close on to the handlers nearer the caller. Before the first handler closeFrom ends the call.
func (c *multiChain) closeFrom(index int) {
	if index < 0 {
		c.end()
	} else if !c.closed[index].Swap(true) {
		c.handlers[index].Close()
	}
}

// PeerOf returns the id of the server whose response is being received. An interceptor's handler
// calls it in Recv, with the next handler that the interceptor was given. The id is empty outside
// of Recv, if no server is known, and for handlers of other types.
func PeerOf(next ClientMultiRPCHandler) string {
	stage, ok := next.(multiStage)
	if !ok {
		return ""
	}
	stage.chain.mu.Lock()
	defer stage.chain.mu.Unlock()
	return stage.chain.currentServer
}
