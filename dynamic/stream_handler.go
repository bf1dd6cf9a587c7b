package dynamic

import (
	"context"
	"fmt"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// boundStream is a stream handler whose message types have been checked against its method.
type boundStream struct {
	sendType, recvType message.Type
	// buffer is the capacity of the user's channel, and window the size of the send window, both in
	// messages. If buffer is zero, the capacity is DefaultStreamBuffer. If window is zero or one,
	// there is no send window.
	buffer, window int
	// newTyped creates the typed stream for the handler. It returns a function that calls the
	// handler with this stream.
	newTyped func(s *stream) func() error
	// refusal is the error with which the server refuses all streams of a method without a handler. It
	// is nil if there is a handler.
	refusal error
	// affinity returns the affinity to include in the server's claim. If affinity is nil, the
	// affinity is 1.
	affinity func(ctx context.Context) float32
}

// StreamHandlerOption configures a stream handler.
type StreamHandlerOption interface {
	bindStream(bound *boundStream, method *registry.Method) error
}

// Stream returns a handler that calls handle for each stream. Send is the method's response type,
// and Recv is its request type. Each call runs on its own goroutine. When handle returns, the
// stream is closed with the error that handle returned; see the method Close of [ClientStream]. To
// keep the stream open, handle can call the method Hijack of [ServerStream].
//
// The stream's context ends when the stream is closed. The duration of handle is not limited in any
// other way. When the server is shut down, or the service or topic is deregistered, its streams are
// closed immediately with errors.ErrStreamEOF. [Server.Shutdown] and [Registration.Close] wait for
// the handlers to return. If handle panics, the panic is logged and the stream is closed with code
// [errors.Internal]. The panic value is not sent to the client.
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
		return nil, fmt.Errorf("the method is a %s, not a stream: %s", kindNouns[kind], handlerHints[kind])
	}
	recvType, err := message.Resolve[Recv](method.Service(), method.Input())
	if err != nil {
		return nil, fmt.Errorf("type of received messages: %w", err)
	}
	sendType, err := message.Resolve[Send](method.Service(), method.Output())
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
		if option == nil {
			continue
		}
		if err := option.bindStream(bound, method); err != nil {
			return nil, err
		}
	}
	return &boundHandler{stream: bound}, nil
}

// unimplementedStream handles streams of methods that have no handler.
func unimplementedStream(ServerStream[proto.Message, proto.Message]) error {
	return errors.ErrUnimplemented
}

// WithStreamAffinity sets the function that rates how suitable this server is for a new stream. The
// option is for methods for which the client selects one of the servers that claim the stream. If
// the method has AFFINITY routing, the client selects the server with the highest affinity by
// default. For other methods, it selects the first server that claims the stream. [SelectionOpts]
// can change both. Without this option, the affinity is 1.
//
// A server with a negative affinity does not claim the stream. A server with affinity 0 claims it,
// but is never selected for having the highest affinity. The client selects such a server only if
// its SelectionOpts contain a SelectionFunc or AcceptFirstAvailable, or if it selects the first
// server by default.
//
// ctx carries the client's metadata (see [RequestInfoFromContext]) and ends when the client's
// request expires or is canceled. The function should return quickly. If it panics, the server does
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
