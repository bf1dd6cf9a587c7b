package dynamic

import (
	"context"
	"fmt"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// boundStream is a stream's handler fitted to its method.
type boundStream struct {
	sendType, recvType message.Type
	buffer, window int // 0: the defaults
	// newTyped makes the stream a typed one, and returns what handles it.
	newTyped func(s *stream) func() error
	// affinity is what the server offers itself with; nil: always 1.
	affinity func(ctx context.Context) float32
}

// StreamHandlerOption configures a handler of streams.
type StreamHandlerOption interface {
	bindStream(bound *boundStream, method *registry.Method) error
}

// Stream makes a handler of a function that serves one stream. Send is the method's response type, Recv its request
// type. Each stream has a goroutine of its own, on which the function runs. When it returns the stream is closed with
// its error (see [ClientStream]), unless it was hijacked.
//
// The stream's context ends when the stream is closed; nothing else bounds the handler. When the server is shut down,
// or the service or the topic deregistered, its streams are closed at once with errors.ErrStreamEOF; Shutdown and
// [Registration.Close] wait for the handlers. A panic closes the stream with the code internal; it is logged, and the
// client learns nothing about it.
func Stream[Send, Recv proto.Message](handle func(stream ServerStream[Send, Recv]) error, opts ...StreamHandlerOption) Handler {
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
		sendType:     sendType,
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

// unimplementedStream serves the streams that were left without a handler.
func unimplementedStream(ServerStream[proto.Message, proto.Message]) error {
	return errors.ErrUnimplemented
}

// WithStreamAffinity sets the function that tells how well this server suits one more stream, for methods whose
// clients choose among the servers that claim it: higher is better, 0 claims without hope, and with less than 0 the
// server does not take the stream. The default is always 1. ctx carries the client's metadata (see
// [RequestInfoFromContext]) and ends with the client's patience. The function should be quick; if it panics, the server
// does not take the stream.
func WithStreamAffinity(affinity func(ctx context.Context) float32) StreamHandlerOption {
	return streamAffinity(affinity)
}

type streamAffinity func(ctx context.Context) float32

func (f streamAffinity) bindStream(bound *boundStream, method *registry.Method) error {
	if f == nil {
		return errors.New("the affinity function is nil")
	}
	if !method.RequireClaim() {
		return errors.New("there is an affinity function, but the method's servers do not claim streams")
	}
	bound.affinity = f
	return nil
}
