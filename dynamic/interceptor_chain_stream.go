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

// StreamContext returns the context of a stream. next is the handler that an interceptor was given.
// On a server the context carries the client's id and metadata, see [RequestInfoFromContext]. On a
// client whose stream is not open yet it is the context given to OpenStream. For handlers of other
// types StreamContext returns the background context.
func StreamContext(next StreamHandler) context.Context {
	stage, ok := next.(streamStage)
	if !ok {
		return context.Background()
	}
	return stage.chain.streamContext()
}

// SetStreamContext replaces the context that [StreamContext] returns. ctx must be derived from that
// context. On a server ctx becomes the context of the stream; on a client it takes the place of the
// context given to OpenStream, whose metadata is sent when the stream is opened. An interceptor
// must call SetStreamContext before it returns its handler; later calls, and calls for handlers of
// other types, have no effect.
func SetStreamContext(next StreamHandler, ctx context.Context) {
	if stage, ok := next.(streamStage); ok && !stage.chain.built {
		stage.chain.context = ctx
	}
}

// streamChain is the handler chain of one stream. handlers[0] is nearest the user on both sides:
// Send and Close pass through the handlers in ascending order, Recv in descending order.
type streamChain struct {
	method *registry.Method
	panics panicReporter
	// context is the context of the stream until stream is set.
	context context.Context //nolint:containedctx // it has the lifetime of the stream
	// built is true when all interceptors have returned their handlers. context does not change
	// afterwards.
	built    bool
	handlers []StreamHandler
	// closed holds, for each handler, whether its Close was called.
	closed []atomic.Bool
	// stream is nil until the stream exists.
	stream atomic.Pointer[stream]
	// refusal is the cause of a Close before stream was set.
	refusal atomic.Pointer[error]

	// receiving counts the messages that are being put into the user's channel. The channel is
	// closed when none is left.
	receiving *lifecycle.Gate
	// pendingAck is the message that the pump is passing through the handlers, until it is
	// acknowledged.
	pendingAck atomic.Pointer[streamMessage]
	// readerGone is true when the user reads no more messages.
	readerGone atomic.Bool
}

// streamStage is the next handler, as seen from the handler at an index of the chain.
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

// newStreamChain builds the chain of interceptors, given in the order from the user to the bus. It
// returns an error if an interceptor rejects the stream. Without interceptors it returns nil;
// finish may be called on a nil chain.
func newStreamChain(
	ctx context.Context, panics panicReporter, interceptors []StreamInterceptor, info RPCInfo,
) (*streamChain, error) {
	if len(interceptors) == 0 {
		return nil, nil //nolint:nilnil // a nil chain is valid
	}
	c := &streamChain{
		method: info.Descriptor, panics: panics, context: ctx, receiving: lifecycle.NewGate(),
		handlers: make([]StreamHandler, len(interceptors)), closed: make([]atomic.Bool, len(interceptors)),
	}
	defer func() {
		// After a panic the handlers that the other interceptors returned are closed.
		if !c.built {
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

// send calls Send of the handler at index. Behind the last handler it sends the message on the
// stream.
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

// notOpen returns the error of a Send or Recv before the stream exists.
func (c *streamChain) notOpen() error {
	return errors.NewErrorf(errors.Internal, "an interceptor used stream %s before it was open", c.method.FullName())
}

// close closes the stream for its user. The close passes through the handlers first.
func (c *streamChain) close(s *stream, cause error) error {
	// The stream is closed even if an interceptor does not pass the close on, or panics.
	defer func() {
		if s.Err() == nil {
			_ = s.Close(cause)
		}
	}()
	if c.closed[0].Load() { // Another Close is passing through the handlers.
		return s.Close(cause)
	}
	if err := s.Err(); err != nil { // The stream was closed already, for another cause.
		cause = err
	}
	return c.closeFrom(0, cause)
}

// closeFrom calls Close of the handler at index, unless it was called before. Behind the last
// handler it closes the stream. Before the stream exists, a close that passes all handlers, or
// finds one closed, records its cause as the refusal.
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

// finish calls Close of every handler on which it was not called before. It returns when no further
// message is put into the user's channel, so that the channel can be closed.
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

// receive passes a message through the handlers into the user's channel. It returns false if no
// more messages can be delivered. Only the pump calls it.
//
// The message is acknowledged in recv when a handler passes a message on, or here if they have
// handled it without passing one on. pendingAck ensures that it is acknowledged once, even if a
// handler passes on several messages.
func (c *streamChain) receive(s *stream, message streamMessage, decoded proto.Message) bool {
	c.pendingAck.Store(&message)
	err := c.panics.guard(s.context, c.method, func() error { return c.recv(len(c.handlers)-1, decoded) })
	if err != nil {
		_ = s.Close(err)
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

// recv calls Recv of the handler at index. Before the first handler it puts the message into the
// user's channel.
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

// SendBounds returns the limits of a Send that is made now on an open stream with these options:
// the context that ends it, its deadline, and the size of the stream's window, which is 0 without a
// window. next is the handler that an interceptor was given. Before the stream is open, SendBounds
// returns the context of [StreamContext] and zero values. For handlers of other types the context
// is the background context.
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
