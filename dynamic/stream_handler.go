package dynamic

import (
	"context"
	"fmt"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// boundStream is a stream handler whose types have been checked against its method.
type boundStream struct {
	sendType, recvType message.Type
	// buffer and window are sizes in messages; zero selects the default.
	buffer, window int
	// newTyped creates the typed stream that the handler receives, and returns a function that
	// calls the handler.
	newTyped func(s *stream) func() error
	// affinity returns the affinity with which the server claims a stream. If affinity is nil it is
	// 1.
	affinity func(ctx context.Context) float32
}

// StreamHandlerOption configures a stream handler.
type StreamHandlerOption interface {
	bindStream(bound *boundStream, method *registry.Method) error
}

// Stream returns a handler that calls handle for each stream. Send is the method's response type,
// Recv its request type. Each stream is handled on a goroutine of its own. When handle returns, the
// stream is closed with its error (see Close of [ClientStream]), unless the stream was hijacked.
//
// The stream's context ends when the stream is closed; the handler has no other time limit. When
// the server is shut down, or the service or the topic is deregistered, its streams are closed at
// once with errors.ErrStreamEOF; [Server.Shutdown] and [Registration.Close] wait for the handlers.
// A panic is logged and closes the stream with the code internal; the client does not see the value
// of the panic.
func Stream[Send, Recv proto.Message](
	handle func(stream ServerStream[Send, Recv]) error, opts ...StreamHandlerOption,
) Handler {
	return streamHandler[Send, Recv]{handle, opts}
}

type streamHandler[Send, Recv proto.Message] struct {
	handle  func(ServerStream[Send, Recv]) error
	options []StreamHandlerOption
}

func (h streamHandler[Send, Recv]) bind(method *registry.Method) (*boundHandler, error) {
	if h.handle == nil {
		return nil, errors.New("the function is nil")
	}
	if kind := method.Kind(); kind != registry.KindStream {
		return nil, fmt.Errorf("the method is a %s, not a stream", kindNouns[kind])
	}
	recvType, err := message.Resolve[Recv](method.Input())
	if err != nil {
		return nil, fmt.Errorf("type of received messages: %w", err)
	}
	sendType, err := message.Resolve[Send](method.Output())
	if err != nil {
		return nil, fmt.Errorf("type of sent messages: %w", err)
	}
	bound := &boundStream{
		sendType: sendType,
		recvType: recvType,
		newTyped: func(s *stream) func() error {
			typed := newTypedStream[Send, Recv](s)
			return func() error { return h.handle(typed) }
		},
	}
	for _, option := range h.options {
		if err := option.bindStream(bound, method); err != nil {
			return nil, err
		}
	}
	return &boundHandler{stream: bound}, nil
}

// unimplementedStream handles the streams of methods for which no handler was given.
func unimplementedStream(ServerStream[proto.Message, proto.Message]) error {
	return errors.ErrUnimplemented
}

// WithStreamAffinity sets the function that rates how well this server suits one more stream, for
// methods whose clients select one of the servers that claim the stream. A higher affinity is
// better. With 0 the server claims the stream but loses a selection by affinity; only
// [SelectionOpts] with AcceptFirstAvailable (the default unless the method has AFFINITY routing) or
// a SelectionFunc can select it. With a negative affinity the server does not claim the stream.
// Without the option the affinity is 1.
//
// ctx carries the client's metadata (see [RequestInfoFromContext]) and ends when the client's
// request expires or is canceled. The function should return quickly; if it panics, the server does
// not claim the stream.
func WithStreamAffinity(affinity func(ctx context.Context) float32) StreamHandlerOption {
	return streamAffinity(affinity)
}

type streamAffinity func(ctx context.Context) float32

func (f streamAffinity) bindStream(bound *boundStream, method *registry.Method) error {
	if f == nil {
		return errors.New("the affinity function is nil")
	}
	if !method.RequireClaim() {
		return errors.New("WithStreamAffinity has no effect: the method's servers do not claim streams")
	}
	bound.affinity = f
	return nil
}
