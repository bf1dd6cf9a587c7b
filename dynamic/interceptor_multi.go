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

// ClientMultiRPCHandler handles one multi call in its phases. Each of an interceptor's methods does its part by calling
// the same method of the next handler, or leaves that out.
//
// The first interceptor is nearest the caller in both directions. A request goes from the caller through the first
// interceptor to the last one and then to the bus; a response comes from the bus through the last interceptor to the
// first one and then to the caller; and so does the end of the call. Next is whoever is next in that direction.
type ClientMultiRPCHandler interface {
	// Send sends the request, on the caller's goroutine, to which it may panic. After an error it may be called again,
	// which makes a new request; after a success it fails. If it is left out there is no request: the responses are
	// those that the interceptor passes to Recv before its own Send returns.
	Send(ctx context.Context, request proto.Message, opts ...RequestOption) error
	// Recv takes a server's response or error, one at a time. With no message and an error that no server sent it says
	// why the whole call failed. The caller sees as [Response.ServerID] the server whose response was on its way when
	// the last Recv was called. A panic ends the call with the code internal, and is logged.
	Recv(response proto.Message, err error)
	// Close says that no more responses are wanted: the call has ended, or an interceptor ends it before its time by
	// calling Close of next. It is called once for each handler, also if Send has failed or panicked, and Recv no more
	// after it.
	Close()
}

// ClientMultiRPCInterceptor makes the handler of one multi call. The methods of next may be called from any goroutine.
// Messages must be of the method's types; their Go types do not matter.
type ClientMultiRPCInterceptor func(info RPCInfo, next ClientMultiRPCHandler) ClientMultiRPCHandler

// multiChain is the handlers of one multi call.
type multiChain struct {
	plan     *clientPlan
	route    *route
	handlers []ClientMultiRPCHandler // the first is nearest the caller
	closed   []atomic.Bool           // of each handler

	mu            sync.Mutex
	sent          bool             // a request was sent, or is being sent
	frozen        bool             // the caller's part of Send is over
	call          *multiCall       // nil if there is no request
	currentServer string           // the server whose response is on its way
	ready         []serverResponse // for the caller
	done          bool             // nothing more is for the caller
}

// multiStage is what the handler at an index calls next.
type multiStage struct {
	chain *multiChain
	index int
}

func (s multiStage) Send(ctx context.Context, request proto.Message, opts ...RequestOption) error {
	return s.chain.send(s.index+1, ctx, request, opts)
}

func (s multiStage) Recv(response proto.Message, err error) { s.chain.recv(s.index-1, response, err) }

func (s multiStage) Close() { s.chain.closeFrom(s.index - 1) }

// multiInterceptors returns those of the conn, and then those of the call.
func (p *clientPlan) multiInterceptors(o *requestOptions) []ClientMultiRPCInterceptor {
	if o.interceptors == nil {
		return p.conn.options.interceptors.multi
	}
	return slices.Concat(p.conn.options.interceptors.multi, o.interceptors.multi)
}

// startMultiIntercepted sends a request through the interceptors. The call must be stopped.
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
	defer func() { // of an error or a panic
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

// start sends the request, and returns a call even if the interceptors did not.
func (c *multiChain) start(ctx context.Context, request proto.Message, opts []RequestOption) (call *multiCall, err error) {
	started := false
	defer func() { // of an error or a panic after the request was sent
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

// newUnsentMulti returns a call to which no server will answer.
func (p *clientPlan) newUnsentMulti(r *route) *multiCall {
	return &multiCall{plan: p, route: r, id: id.NewRequest(), done: true, timer: p.conn.timers.Start(DefaultClientTimeout)}
}

// freeze lets no more requests be sent, and returns the one that was.
func (c *multiChain) freeze() *multiCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = true
	return c.call
}

// send calls a handler, or behind the last one the engine.
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
	if started && err == nil { // nobody waits for it
		call.stop()
		return c.errStarted()
	}
	return err
}

func (c *multiChain) errStarted() error {
	return errors.NewErrorf(errors.Internal, "the request of %s was sent already, or Send has returned", c.plan.method.FullName())
}

func (c *multiChain) startCall(ctx context.Context, request proto.Message, opts []RequestOption) (*multiCall, error) {
	o := newRequestOptions(opts)
	r, err := c.plan.resolveIntercepted(c.route, request, &o)
	if err != nil {
		return nil, err
	}
	return c.plan.startMulti(ctx, r, request, &o)
}

// next returns what comes out of the interceptors, or false when no more will. One goroutine at a time may call it.
func (c *multiChain) next(ctx context.Context, call *multiCall) (response serverResponse, ok bool) {
	for {
		if response, ok, ended := c.popReady(); ok || ended {
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

// popReady returns what is there for the caller, and whether that is all.
func (c *multiChain) popReady() (response serverResponse, ok, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ready) > 0 {
		response, c.ready = c.ready[0], c.ready[1:]
		return response, true, false
	}
	return serverResponse{}, false, c.done
}

// hasReady tells whether there is something to take. A nil chain has none.
func (c *multiChain) hasReady() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ready) > 0 || c.done
}

// forward lets the interceptors have an answer. If one of them panics that is the end of the call.
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

// recv calls a handler, or before the first one keeps the response for the caller.
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

// end keeps nothing more for the caller.
func (c *multiChain) end() {
	c.mu.Lock()
	c.done = true
	call := c.call
	c.mu.Unlock()
	notify(call)
}

func notify(call *multiCall) {
	if call != nil {
		call.wakeup.Send()
	}
}

// close closes every handler that was not closed before. Panics are logged.
func (c *multiChain) close() {
	for i := range slices.Backward(c.handlers) {
		_ = c.plan.conn.panics().guard(context.Background(), c.plan.method, func() error {
			c.closeFrom(i)
			return nil
		})
	}
}

// closeFrom closes a handler, which closes those nearer the caller, or before the first one ends the call.
func (c *multiChain) closeFrom(index int) {
	if index < 0 {
		c.end()
	} else if !c.closed[index].Swap(true) {
		c.handlers[index].Close()
	}
}

// PeerOf returns, inside of Recv of an interceptor's handler, the id of the server whose response is on its way; next is
// what the interceptor was given. It is empty if there is none, and for other handlers.
func PeerOf(next ClientMultiRPCHandler) string {
	stage, ok := next.(multiStage)
	if !ok {
		return ""
	}
	stage.chain.mu.Lock()
	defer stage.chain.mu.Unlock()
	return stage.chain.currentServer
}
