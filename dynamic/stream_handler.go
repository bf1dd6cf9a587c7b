package dynamic

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/serve"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/stream"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

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
	handle func(stream ServerStream[Send, Recv]) error, opts ...HandlerOption,
) Handler {
	return streamHandler[Send, Recv]{handle, opts}
}

type streamHandler[Send, Recv proto.Message] struct {
	handle  func(ServerStream[Send, Recv]) error
	options []HandlerOption
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
	bound := &boundHandler{stream: &boundStream{
		sendType: sendType,
		recvType: recvType,
		newTyped: func(s *stream.Stream, chain *streamChain) func() error {
			typed := newTypedStream[Send, Recv](s, chain)
			return func() error { return h.handle(typed) }
		},
	}}
	return bound, bound.apply(h.options, method)
}

// engineHandler returns the handler for the engine. Its function Open builds the chain of
// interceptors for a stream and creates the typed stream.
func (b *boundStream) engineHandler(r *Registration, method *registry.Method) *serve.StreamHandler {
	return &serve.StreamHandler{
		SendType: b.sendType, RecvType: b.recvType, Buffer: b.buffer, Window: b.window, Affinity: b.affinity,
		Open: func(s *stream.Stream) (handle func() error, err error) {
			var chain *streamChain
			err = r.panics().guard(s.Context(), method, func() (err error) {
				chain, err = r.newServerStreamChain(s, method)
				return err
			})
			if err != nil {
				return nil, err
			}
			handle = b.newTyped(s, chain)
			if chain != nil {
				s.SetContext(chain.context)
				chain.attach(s)
			}
			return handle, b.refusal
		},
	}
}

// newServerStreamChain builds the handler chain of a stream from the interceptors of the server and
// the service. It returns nil if there are none, and an error if an interceptor rejects the stream.
func (r *Registration) newServerStreamChain(s *stream.Stream, method *registry.Method) (*streamChain, error) {
	interceptors := slices.Clone(r.interceptors.stream)
	// newStreamChain needs the interceptor nearest to the user first. On a server, however, the
	// interceptor nearest to the bus is the first.
	slices.Reverse(interceptors)
	return newStreamChain(s.Context(), r.panics(), interceptors, newRPCInfo(method, s.Topic()))
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
func WithStreamAffinity(affinity func(ctx context.Context) float32) HandlerOption {
	return streamAffinity(affinity)
}

type streamAffinity func(ctx context.Context) float32

func (f streamAffinity) bindOption(bound *boundHandler, method *registry.Method) error {
	if bound.stream == nil {
		return errors.New("WithStreamAffinity is for handlers of streams: use WithAffinity")
	}
	if f == nil {
		return errors.New("the affinity function is nil")
	}
	if !method.RequireClaim() {
		return errors.New("WithStreamAffinity has no effect: the method's servers do not claim streams")
	}
	bound.stream.affinity = f
	return nil
}
