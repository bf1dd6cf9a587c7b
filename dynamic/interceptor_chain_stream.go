package dynamic

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/stream"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// StreamContext returns the context of a stream. next must be the handler that was passed to a
// [StreamInterceptor]; for any other handler, StreamContext returns [context.Background]. On a
// server, the context carries the client's ID and metadata; see [RequestInfoFromContext]. On a
// client, StreamContext returns the context passed to OpenStream until the stream is open, and then
// the context of the open stream.
func StreamContext(next StreamHandler) context.Context {
	stage, ok := next.(streamStage)
	if !ok {
		return context.Background()
	}
	return stage.chain.streamContext()
}

// SetStreamContext replaces the context returned by [StreamContext]. ctx must be derived from that
// context. On a server, ctx becomes the context of the stream. On a client, ctx replaces the
// context passed to OpenStream, so the metadata in ctx is sent when the stream is opened.
// SetStreamContext must be called before the interceptor returns its handler; later calls have no
// effect. A call also has no effect if next is not a handler that was passed to an interceptor, or
// if ctx is nil.
func SetStreamContext(next StreamHandler, ctx context.Context) {
	if stage, ok := next.(streamStage); ok && !stage.chain.built && ctx != nil {
		stage.chain.context = ctx
	}
}

// streamChain is the handler chain of one stream. On both sides, handlers[0] is nearest to the
// user. Calls to Send and Close pass through the handlers in the order of their indexes, and calls
// to Recv in the reverse order.
type streamChain struct {
	method *registry.Method
	panics panicReporter
	// context is the stream's context as long as the field stream is nil.
	context context.Context //nolint:containedctx // it has the lifetime of the stream
	// built reports whether all interceptors have returned their handlers. After that, the field
	// context does not change.
	built    bool
	handlers []StreamHandler
	// closed records for each handler whether its Close method has been called.
	closed []atomic.Bool
	// stream is the stream to which the chain belongs. It is nil until that stream has been
	// created.
	stream atomic.Pointer[stream.Stream]
	// refusal points to the error that an interceptor has passed to Close before the field stream
	// was set. It is nil if no interceptor has done so.
	refusal atomic.Pointer[error]

	// receiving counts the messages that are being put into the user's channel. The channel is
	// closed only after all of these messages are in it.
	receiving *lifecycle.Gate
	// pendingAck is the message that is passing through the handlers and has not been acknowledged
	// yet. It is nil if there is no such message.
	pendingAck atomic.Pointer[stream.Received]
	// readerGone reports whether the user has stopped reading messages.
	readerGone atomic.Bool
}

// streamStage is the next handler for the interceptor at index. It passes events on to the handler
// of the following or the preceding interceptor.
type streamStage struct {
	chain *streamChain
	index int
}

func (c *streamChain) streamContext() context.Context {
	if s := c.stream.Load(); s != nil {
		return s.Context()
	}
	return c.context
}

func (s streamStage) Recv(message proto.Message) error { return s.chain.recv(s.index-1, message) }

func (s streamStage) Send(message proto.Message, opts ...StreamOption) error {
	return s.chain.send(s.index+1, message, opts)
}

func (s streamStage) Close(cause error) error { return s.chain.closeFrom(s.index+1, cause) }

// newStreamChain builds the handler chain of a stream from interceptors. The first interceptor must
// be the one nearest to the user. newStreamChain returns an error if an interceptor rejects the
// stream. If there are no interceptors, it returns a nil chain, on which Finish may be called.
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
		// If an interceptor panics, close the handlers that the other interceptors have returned.
		if !c.built {
			c.Finish(interceptorPanicked(c.method))
		}
	}()
	for i, intercept := range slices.Backward(interceptors) {
		if c.handlers[i] = intercept(info, streamStage{c, i}); c.handlers[i] == nil {
			err := errNoHandler(c.method)
			c.Finish(err)
			return nil, err
		}
	}
	c.built = true
	if cause := c.refusal.Load(); cause != nil {
		c.Finish(*cause)
		return nil, stream.CloseError(*cause)
	}
	return c, nil
}

// attach makes sent and received messages of s pass through the chain. It does nothing if c is nil.
func (c *streamChain) attach(s *stream.Stream) {
	if c != nil {
		s.SetChain(c)
		c.stream.Store(s)
	}
}

// send calls the Send method of the handler at index. If there is no such handler, send sends the
// message on the stream.
func (c *streamChain) send(index int, message proto.Message, opts []StreamOption) error {
	if index < len(c.handlers) {
		return c.handlers[index].Send(message, opts...)
	}
	s := c.stream.Load()
	if s == nil {
		return c.notOpen()
	}
	if err := s.SendType().CheckName(message); err != nil {
		return wrongMessage("message", c.method, err)
	}
	return publicStreamError(s.Send(message, newSendOptions(opts)))
}

// notOpen returns the error for a Send or Recv that is called before the stream exists.
func (c *streamChain) notOpen() error {
	return errors.NewErrorf(errors.Internal, "an interceptor used stream %s before it was open", c.method.FullName())
}

// Close implements stream.Chain. It calls the Close methods of the handlers before it closes the
// stream.
func (c *streamChain) Close(cause error) error {
	s := c.stream.Load()
	// The stream is closed even if a handler panics or does not call next.Close.
	defer func() {
		if s.Err() == nil {
			_ = s.Close(cause)
		}
	}()
	if c.closed[0].Load() {
		// A call to Close is already passing through the handlers.
		return s.Close(cause)
	}
	if err := s.Err(); err != nil {
		// The stream was already closed for another reason.
		cause = err
	}
	return c.closeFrom(0, cause)
}

// closeFrom calls the Close method of the handler at index, unless this has already been done. If
// there is no handler with this index, closeFrom closes the stream or, if the stream does not exist
// yet, records cause in c.refusal.
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

// Finish implements stream.Chain. It calls the Close method of every handler that has not been
// closed yet. When it returns, no more messages are put into the user's channel, so the channel can
// be closed. It does nothing if c is nil.
func (c *streamChain) Finish(cause error) {
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

// Receive implements stream.Chain. It passes a message through the handlers into the user's
// channel.
func (c *streamChain) Receive(received stream.Received, decoded proto.Message) bool {
	s := c.stream.Load()
	// If the handlers pass the message on, recv acknowledges it. Otherwise, it is acknowledged
	// below. pendingAck prevents a second acknowledgement, even if a handler passes on several
	// messages.
	c.pendingAck.Store(&received)
	err := c.panics.guard(s.Context(), c.method, func() error { return c.recv(len(c.handlers)-1, decoded) })
	if err != nil {
		_ = s.Close(err)
		return false
	}
	if c.readerGone.Load() {
		return false
	}
	if pending := c.pendingAck.Swap(nil); pending != nil {
		s.Acknowledge(pending)
	}
	return true
}

// recv calls the Recv method of the handler at index. If index is negative, recv puts the message
// into the user's channel.
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
	message, err := s.RecvType().Convert(message)
	if err != nil {
		return wrongMessage("message", c.method, err)
	}
	if !s.Deliver(c.pendingAck.Swap(nil), message) {
		c.readerGone.Store(true)
		return s.Err()
	}
	return nil
}

// SendBounds returns the limits that a call to Send with opts would have at this moment. ctx and
// deadline limit how long Send may take. window is the size of the stream's send window, or 0 if
// the stream has none. next must be the handler that was passed to a [StreamInterceptor]; for any
// other handler, the context is [context.Background]. If the stream is not open yet, SendBounds
// returns the context of [StreamContext] and zero values.
func SendBounds(next StreamHandler, opts ...StreamOption) (ctx context.Context, deadline time.Time, window int) {
	stage, ok := next.(streamStage)
	if !ok {
		return context.Background(), time.Time{}, 0
	}
	s := stage.chain.stream.Load()
	if s == nil {
		return StreamContext(next), time.Time{}, 0
	}
	ctx, timeout, window := s.SendBounds(newSendOptions(opts))
	return ctx, time.Now().Add(timeout), window
}
