package dynamic

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// multiChain is the handler chain of one multi call. A request passes through the handlers in the
// order of their indexes, and the last handler starts the call. Responses pass through the handlers
// in the reverse order. The field ready then holds them until the caller reads them. This buffer is
// needed because a handler can pass on any number of responses for each response that it receives.
type multiChain struct {
	plan  *clientPlan
	route *route
	// handlers holds the interceptors' handlers. The first one is nearest to the caller.
	handlers []ClientMultiRPCHandler
	// closed records for each handler whether its Close method has been called.
	closed []atomic.Bool

	mu sync.Mutex
	// sent is true while a request is being sent, and after it has been sent.
	sent bool
	// frozen reports whether the first handler's Send has returned. After that, no request can be
	// sent, because no goroutine would read the responses.
	frozen bool
	// call is the call in progress. It is nil until a request has been sent.
	call *call.Multi
	// currentServer is the ID of the server whose response is passing through the handlers. It is
	// empty while no response is passing through them.
	currentServer string
	// ready holds the responses that the caller has not read yet.
	ready []serverResponse
	// done reports whether the call has ended. Once it has, no more responses are added to ready.
	done bool
}

// multiStage is the next handler for the interceptor at index. It passes requests on to the handler
// of the following interceptor, and responses to the handler of the preceding one.
type multiStage struct {
	chain *multiChain
	index int
}

func (s multiStage) Send(ctx context.Context, request proto.Message, opts ...RequestOption) error {
	return s.chain.send(s.index+1, ctx, request, opts)
}

func (s multiStage) Recv(response proto.Message, err error) { s.chain.recv(s.index-1, response, err) }

func (s multiStage) Close() { s.chain.closeFrom(s.index - 1) }

// multiInterceptors returns the interceptors of the conn followed by those of the call.
func (p *clientPlan) multiInterceptors(o *requestOptions) []ClientMultiRPCInterceptor {
	if o.interceptors == nil {
		return p.options.interceptors.multi
	}
	return slices.Concat(p.options.interceptors.multi, o.interceptors.multi)
}

// startMultiIntercepted starts a multi call through the interceptors. The caller must close the
// returned chain and stop the returned call.
func (p *clientPlan) startMultiIntercepted(
	ctx context.Context, r *route, request proto.Message, opts []RequestOption, interceptors []ClientMultiRPCInterceptor,
) (*call.Multi, *multiChain, error) {
	c := &multiChain{
		plan: p, route: r,
		handlers: make([]ClientMultiRPCHandler, len(interceptors)), closed: make([]atomic.Bool, len(interceptors)),
	}
	info := p.callInfo(r)
	for i, intercept := range slices.Backward(interceptors) {
		if c.handlers[i] = intercept(info, multiStage{c, i}); c.handlers[i] == nil {
			return nil, nil, errNoHandler(p.method)
		}
	}
	started := false
	// Close the handlers if Send fails or panics.
	defer func() {
		if !started {
			c.close()
		}
	}()
	multi, err := c.start(ctx, request, opts)
	if err != nil {
		return nil, nil, ensureCode(err)
	}
	started = true
	return multi, c, nil
}

// start passes the request to the first handler and returns the call. If start succeeds, it always
// returns a call, even if the interceptors have not sent a request.
func (c *multiChain) start(ctx context.Context, request proto.Message, opts []RequestOption) (*call.Multi, error) {
	started := false
	// Stop the call if Send fails or panics after the request has been sent.
	defer func() {
		if !started {
			if multi := c.freeze(); multi != nil {
				multi.Stop()
			}
		}
	}()
	if err := c.send(0, ctx, request, opts); err != nil {
		return nil, err
	}
	started = true
	if multi := c.freeze(); multi != nil {
		return multi, nil
	}
	return c.plan.calls.NewEndedMulti(&c.route.Route), nil
}

// freeze prevents further requests from being sent. It returns the call, or nil if no request has
// been sent.
func (c *multiChain) freeze() *call.Multi {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = true
	return c.call
}

// send calls the Send method of the handler at index. If there is no such handler, send starts the
// call.
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
	multi, err := c.startCall(ctx, request, opts)
	c.mu.Lock()
	started = c.frozen
	if !started {
		c.sent, c.call = err == nil, multi
	}
	c.mu.Unlock()
	// If the first handler's Send has returned in the meantime, no goroutine reads the responses,
	// so the call is stopped.
	if started && err == nil {
		multi.Stop()
		return c.errStarted()
	}
	return err
}

// errStarted returns the error for a call to Send that comes too late, because the request was
// already sent or the first handler's Send has returned.
func (c *multiChain) errStarted() error {
	return errors.NewErrorf(
		errors.Internal, "request of %s was already sent, or Send has returned", c.plan.method.FullName())
}

func (c *multiChain) startCall(ctx context.Context, request proto.Message, opts []RequestOption) (*call.Multi, error) {
	o := newRequestOptions(opts)
	r, err := c.plan.resolveIntercepted(c.route, request, &o)
	if err != nil {
		return nil, err
	}
	return c.plan.startMulti(ctx, r, request, &o)
}

// next returns the next response that the interceptors have passed to the caller. It returns false
// when there are no more responses. It must not be called concurrently.
func (c *multiChain) next(ctx context.Context, multi *call.Multi) (response serverResponse, ok bool) {
	for {
		if response, ok, done := c.popReady(); ok || done {
			return response, ok
		}
		received, ok := multi.Next(ctx)
		switch {
		case ok:
			c.forward(&received)
		case multi.Ended():
			c.close()
			c.end()
		}
	}
}

// popReady removes and returns the first response in ready. If ready is empty, done reports whether
// the call has ended, so that no more responses will be added.
func (c *multiChain) popReady() (response serverResponse, ok, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ready) > 0 {
		response, c.ready = c.ready[0], c.ready[1:]
		return response, true, false
	}
	return serverResponse{}, false, c.done
}

// forward passes a server's response to the last handler. If an interceptor panics, forward ends
// the call.
func (c *multiChain) forward(response *call.Response) {
	received := c.plan.decodeServerResponse(response)
	c.setCurrentServer(received.serverID)
	defer c.setCurrentServer("")
	err := c.plan.options.panics().guard(context.Background(), c.plan.method, func() error {
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

// recv calls the Recv method of the handler at index, unless that handler has been closed. If index
// is negative, recv adds the response to ready and wakes the caller.
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
	multi := c.call
	c.mu.Unlock()
	notify(multi)
}

// end ends the call and wakes the caller. Responses that arrive later are dropped.
func (c *multiChain) end() {
	c.mu.Lock()
	c.done = true
	multi := c.call
	c.mu.Unlock()
	notify(multi)
}

// notify interrupts Multi.Next, so that multiChain.next checks the fields ready and done again. It
// does nothing if multi is nil, which means that no request has been sent.
func notify(multi *call.Multi) {
	if multi != nil {
		multi.Interrupt()
	}
}

// close calls the Close method of every handler that has not been closed yet. Panics are recovered
// and logged.
func (c *multiChain) close() {
	for i := range slices.Backward(c.handlers) {
		_ = c.plan.options.panics().guard(context.Background(), c.plan.method, func() error {
			c.closeFrom(i)
			return nil
		})
	}
}

// closeFrom calls the Close method of the handler at index, unless this has already been done. That
// method usually passes the event on to the next handler towards the caller. If index is negative,
// closeFrom ends the call.
func (c *multiChain) closeFrom(index int) {
	if index < 0 {
		c.end()
	} else if !c.closed[index].Swap(true) {
		c.handlers[index].Close()
	}
}

// PeerOf returns the ID of the server whose response is being received. Call PeerOf in the Recv
// method of an interceptor's handler. next must be the handler that was passed to the interceptor.
// For any other handler, PeerOf returns an empty string. It also does so outside of Recv, and if
// the received error does not come from a server.
func PeerOf(next ClientMultiRPCHandler) string {
	stage, ok := next.(multiStage)
	if !ok {
		return ""
	}
	stage.chain.mu.Lock()
	defer stage.chain.mu.Unlock()
	return stage.chain.currentServer
}
