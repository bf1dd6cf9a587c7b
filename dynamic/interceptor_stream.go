package dynamic

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// StreamHandler handles one side of a stream. Each of an interceptor's methods does its part by calling the same method
// of the next handler, or leaves that out. Messages must be of the method's types; their Go types do not matter.
//
// The first interceptor is outermost: on a client nearest the user of the stream, on a server nearest the bus. A sent
// message, and a close, go from the user through all interceptors to the bus; a message that has come goes from the bus
// through all interceptors, in the opposite order, into the stream's channel. Next is whoever is next in that direction.
type StreamHandler interface {
	// Recv takes a message that has come. It is acknowledged when it gets into the stream's channel, or, if it is left
	// out, when Recv returns nil. An error refuses it and closes the stream: the other side sees the error. Recv is
	// called for one message at a time, on a goroutine of the stream, whose panic closes the stream with the code
	// internal, and is logged.
	Recv(message proto.Message) error
	// Send sends a message, see [ClientStream]. It runs on the goroutine of whoever sends.
	Send(message proto.Message, opts ...StreamOption) error
	// Close closes the stream for a cause. If this side closes it, that is done when all interceptors have passed it on, which
	// can give the other side another cause, but cannot keep the stream open. If the stream was closed otherwise, by the
	// other side or with its context, Close is called after the last Recv, with what Err returns; then the stream's context
	// has ended before.
	//
	// Close is called once for each handler, also if a client's stream could not be opened; after an interceptor's own
	// call of next's Close, too.
	Close(cause error) error
}

// StreamInterceptor makes the handler of one stream, on a client before it is opened, on a server before it is accepted.
// If it calls Close of next right then, the stream is refused with that cause. The methods of next may be called from any
// goroutine as soon as the stream is open. See [StreamContext] for what else is known of the stream.
type StreamInterceptor func(info RPCInfo, next StreamHandler) StreamHandler

// StreamContext returns the context of the stream to which the next handler that an interceptor was given belongs. It
// carries, on a server, what the client has sent, see [RequestInfoFromContext]. On a client whose stream is not open yet it
// is the context given to OpenStream. For other handlers it is the background context.
func StreamContext(next StreamHandler) context.Context {
	stage, ok := next.(streamStage)
	if !ok {
		return context.Background()
	}
	return stage.chain.streamContext()
}

// SetStreamContext puts ctx in place of what [StreamContext] returns, of which it must be made. On a server it becomes the
// context of the stream that the handler gets; on a client the one given to OpenStream, whose metadata the stream carries.
// An interceptor calls it before it returns its handler; later, and for other handlers, it does nothing.
func SetStreamContext(next StreamHandler, ctx context.Context) {
	if stage, ok := next.(streamStage); ok && !stage.chain.built {
		stage.chain.context = ctx
	}
}

// streamChain is the handlers of one stream.
type streamChain struct {
	method   *registry.Method
	panics   panicReporter
	context  context.Context //nolint:containedctx // until there is a stream
	built    bool            // by all interceptors; context does not change any more
	handlers []StreamHandler // the first is nearest the user
	closed   []atomic.Bool   // of each handler
	stream   atomic.Pointer[stream]
	refusal  atomic.Pointer[error] // the cause of a close before there was a stream

	receiving  *lifecycle.Gate               // inside: messages on their way into the channel
	pendingAck atomic.Pointer[streamMessage] // what the pump has brought, until it is acknowledged
	readerGone atomic.Bool                   // nobody takes messages any more
}

// streamStage is what the handler at an index calls next.
type streamStage struct {
	chain *streamChain
	index int
}

func (c *streamChain) streamContext() context.Context {
	if s := c.stream.Load(); s != nil {
		return s.context
	}
	return c.context
}

func (s streamStage) Recv(message proto.Message) error { return s.chain.recv(s.index-1, message) }

func (s streamStage) Send(message proto.Message, opts ...StreamOption) error {
	return s.chain.send(s.index+1, message, opts)
}

func (s streamStage) Close(cause error) error { return s.chain.closeFrom(s.index+1, cause) }

// newStreamChain takes interceptors in the order from the user to the bus. It fails with why the stream is refused.
// Without interceptors the chain is nil, which can be finished, too.
func newStreamChain(
	ctx context.Context, panics panicReporter, interceptors []StreamInterceptor, info RPCInfo,
) (*streamChain, error) {
	if len(interceptors) == 0 {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	c := &streamChain{
		method: info.Descriptor, panics: panics, context: ctx, receiving: lifecycle.NewGate(),
		handlers: make([]StreamHandler, len(interceptors)), closed: make([]atomic.Bool, len(interceptors)),
	}
	defer func() {
		if !c.built { // an interceptor has panicked, or returned no handler: those that did are closed
			c.finish(interceptorPanicked(c.method))
		}
	}()
	for i, intercept := range slices.Backward(interceptors) {
		if c.handlers[i] = intercept(info, streamStage{c, i}); c.handlers[i] == nil {
			err := errNoHandler(c.method)
			c.finish(err)
			return nil, err
		}
	}
	c.built = true
	if cause := c.refusal.Load(); cause != nil {
		c.finish(*cause)
		return nil, closeError(*cause)
	}
	return c, nil
}

// send calls a handler, or behind the last one the stream.
func (c *streamChain) send(index int, message proto.Message, opts []StreamOption) error {
	if index < len(c.handlers) {
		return c.handlers[index].Send(message, opts...)
	}
	s := c.stream.Load()
	if s == nil {
		return c.notOpen()
	}
	if err := s.sendType.CheckName(message); err != nil {
		return wrongMessage("message", c.method, err)
	}
	return s.send(message, opts)
}

func (c *streamChain) notOpen() error {
	return errors.NewErrorf(errors.Internal, "an interceptor uses the stream of %s before it is open", c.method.FullName())
}

// close closes the stream for its user.
func (c *streamChain) close(s *stream, cause error) error {
	defer func() { // whatever the interceptors do
		if s.Err() == nil {
			_ = s.Close(cause)
		}
	}()
	if c.closed[0].Load() { // it is being closed
		return s.Close(cause)
	}
	if err := s.Err(); err != nil { // somebody else was first
		cause = err
	}
	return c.closeFrom(0, cause)
}

// closeFrom calls a handler that was not closed before, or behind the last one closes the stream.
func (c *streamChain) closeFrom(index int, cause error) error {
	s := c.stream.Load()
	switch {
	case index < len(c.handlers) && !c.closed[index].Swap(true):
		return c.handlers[index].Close(cause)
	case s == nil:
		c.refusal.CompareAndSwap(nil, &cause)
		return nil
	case index < len(c.handlers):
		return s.Err()
	default:
		return s.Close(cause)
	}
}

// finish closes every handler that was not closed before, and returns when nothing more gets into the stream's channel.
func (c *streamChain) finish(cause error) {
	if c == nil {
		return
	}
	for i := range c.handlers {
		_ = c.panics.guard(c.streamContext(), c.method, func() error {
			if c.handlers[i] != nil && !c.closed[i].Load() {
				return c.closeFrom(i, cause)
			}
			return nil
		})
	}
	<-c.receiving.Close()
}

// receive brings a message through the interceptors. It reports false if no more can be handed over. Only the pump calls
// it.
func (c *streamChain) receive(s *stream, message streamMessage, decoded proto.Message) bool {
	c.pendingAck.Store(&message)
	err := c.panics.guard(s.context, c.method, func() error { return c.recv(len(c.handlers)-1, decoded) })
	if err != nil {
		_ = s.Close(err) // or it was closed before
		return false
	}
	if c.readerGone.Load() {
		return false
	}
	if pending := c.pendingAck.Swap(nil); pending != nil {
		s.acknowledge(pending)
	}
	return true
}

// recv calls a handler, or before the first one hands the message to the user.
func (c *streamChain) recv(index int, message proto.Message) error {
	if index >= 0 {
		return c.handlers[index].Recv(message)
	}
	s := c.stream.Load()
	if s == nil {
		return c.notOpen()
	}
	if !c.receiving.Enter() {
		return s.Err()
	}
	defer c.receiving.Leave()
	message, err := s.recvType.Convert(message)
	if err != nil {
		return wrongMessage("message", c.method, err)
	}
	if !s.deliver(c.pendingAck.Swap(nil), message) {
		c.readerGone.Store(true)
		return s.Err()
	}
	return nil
}

// SendBounds tells of a Send that is made now on an open stream: the context with which it ends, when its time is up, and
// how many messages the stream's window holds, 0 without one. Next is what a stream's interceptor was given; for other
// handlers, and before the stream is open, it is what [StreamContext] returns and zero.
func SendBounds(next StreamHandler, opts ...StreamOption) (ctx context.Context, deadline time.Time, window int) {
	stage, ok := next.(streamStage)
	if !ok {
		return context.Background(), time.Time{}, 0
	}
	s := stage.chain.stream.Load()
	if s == nil {
		return StreamContext(next), time.Time{}, 0
	}
	o := newSendOptions(opts, s)
	return o.ctx, time.Now().Add(o.timeout), cap(s.windowSlots)
}
