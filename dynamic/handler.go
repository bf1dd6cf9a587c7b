package dynamic

import (
	"context"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/serve"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/stream"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Handlers contains the handlers of a service, keyed by the name of the method in the service
// descriptor.
type Handlers map[string]Handler

// Handler serves a method. Handlers are created by [Unary], [Raw], [Stream], [HandlersOf] and
// [HandlersAs]. The same handler may be registered several times.
type Handler interface {
	// bind checks the handler's types against the method and returns a handler for this method.
	bind(method *registry.Method) (*boundHandler, error)
}

// boundHandler is a handler whose types have been checked against its method. Types and conversions
// are determined once, when the handler is registered. Handling a request then needs no reflection.
type boundHandler struct {
	// Handler is the handler for the engine. Its functions take and return encoded messages if raw
	// is set, and decoded ones otherwise.
	serve.Handler

	// handle calls the user's function.
	handle serve.HandleFunc
	// raw reports whether the function handle takes and returns encoded messages.
	raw bool

	// requestType and responseType are the types of the request and response messages.
	requestType, responseType message.Type
	// affinityRequest is the Go type of the requests that the affinity function accepts.
	affinityRequest reflect.Type
	// stream is the handler of a stream method. It is nil for all other methods.
	stream *boundStream
}

// boundStream is a stream handler whose message types have been checked against its method.
type boundStream struct {
	sendType, recvType message.Type
	// buffer is the capacity of the user's channel, and window the size of the send window, both in
	// messages. They are zero until they are set. If window is at most one, there is no send window.
	buffer, window int
	// newTyped creates the typed stream for the handler, with the interceptors in chain, which may be
	// nil. It returns a function that calls the handler with this stream.
	newTyped func(s *stream.Stream, chain *streamChain) func() error
	// refusal is the error with which the server refuses all streams of a method without a handler. It
	// is nil if there is a handler.
	refusal error
	// affinity returns the affinity to include in the server's claim. If affinity is nil, the
	// affinity is 1.
	affinity func(ctx context.Context) float32
}

// HandlerOption configures a handler created by [Unary], [Raw] or [Stream]. If an option does not
// fit the handler, [Server.Register] returns an error.
type HandlerOption interface {
	bindOption(bound *boundHandler, method *registry.Method) error
}

// WithAffinity sets the function that rates how well this server suits a request. The option is for
// methods for which the client selects one of the servers that claim the request. If the method has
// AFFINITY routing, the client selects the server with the highest affinity by default. For other
// methods, it selects the first server that claims the request. [SelectionOpts] can change both
// defaults. Without this option, the affinity is 1.
//
// A server with a negative affinity does not handle the request. A server with affinity 0 claims
// it, but is never selected for having the highest affinity. The client selects such a server only
// if its SelectionOpts contain a SelectionFunc or AcceptFirstAvailable, or if it selects the first
// server by default.
//
// Req must be the request type of the handler. ctx carries the client's metadata (see
// [RequestInfoFromContext]) and ends when the request expires or is canceled. The function should
// return quickly, because the client is waiting for it. If it panics, the server does not handle
// the request. For QUEUE methods, a dynpsrpc client without [WithSelectionOpts] leaves the
// selection to the bus, and the function is not called.
func WithAffinity[Req proto.Message](affinity func(ctx context.Context, request Req) float32) HandlerOption {
	return affinityOption[Req](affinity)
}

type affinityOption[Req proto.Message] func(context.Context, Req) float32

func (f affinityOption[Req]) bindOption(bound *boundHandler, method *registry.Method) error {
	if bound.stream != nil {
		return errors.New("WithAffinity is for handlers of calls: use WithStreamAffinity")
	}
	if f == nil {
		return errors.New("the affinity function is nil")
	}
	if !method.RequireClaim() {
		return errors.New("WithAffinity has no effect: the method's servers do not claim requests")
	}
	if bound.raw {
		return errors.New("WithAffinity needs a handler of decoded requests, but the function takes bytes")
	}
	bound.Affinity = func(ctx context.Context, request wire.Body) float32 { return f(ctx, request.Message.(Req)) }
	bound.affinityRequest = reflect.TypeFor[Req]()
	return nil
}

// WithMaxConcurrent limits how many requests of the method are handled at the same time. By
// default, or if requests is zero or negative, there is no limit. [WithMaxConcurrentRequests]
// limits all methods of a server together. Its documentation explains what happens when a limit is
// reached.
func WithMaxConcurrent(requests int) HandlerOption {
	return concurrencyOption(max(requests, 0))
}

type concurrencyOption int

func (n concurrencyOption) bindOption(bound *boundHandler, _ *registry.Method) error {
	if bound.stream != nil {
		return errors.New("WithMaxConcurrent is for handlers of calls: use WithMaxStreams for all streams of a server")
	}
	bound.MaxConcurrent = int(n)
	return nil
}

// Unary returns a handler that calls handle for each request. handle may keep and modify the
// request. The response must not be modified after handle has returned. If handle returns a nil
// response without an error, an empty message is sent.
//
// The context passed to handle ends when the caller stops waiting or the server is killed. If
// handle panics, the panic is logged, and the caller receives an error with code internal. The
// error does not contain the panic value.
func Unary[Req, Resp proto.Message](
	handle func(ctx context.Context, request Req) (Resp, error), opts ...HandlerOption,
) Handler {
	return unaryHandler[Req, Resp]{handle, opts}
}

type unaryHandler[Req, Resp proto.Message] struct {
	handle  func(context.Context, Req) (Resp, error)
	options []HandlerOption
}

func (u unaryHandler[Req, Resp]) bind(method *registry.Method) (*boundHandler, error) {
	if u.handle == nil {
		return nil, errors.New("the function is nil")
	}
	if !isCall(method) {
		return nil, fmt.Errorf("the method is a %s, not a call: %s", kindNouns[method.Kind()], handlerHints[method.Kind()])
	}
	requests, err := message.Resolve[Req](method.Service(), method.Input())
	if err != nil {
		return nil, fmt.Errorf("request type: %w", err)
	}
	responses, err := message.Resolve[Resp](method.Service(), method.Output())
	if err != nil {
		return nil, fmt.Errorf("response type: %w", err)
	}
	bound := &boundHandler{requestType: requests, responseType: responses}
	bound.Decode = func(raw []byte) (wire.Body, error) {
		// Options may change bound.requestType after bound.Decode has been set, so requestType is
		// read for each request.
		message, err := bound.requestType.Decode(raw)
		return wire.Body{Message: message}, err
	}
	bound.handle = func(ctx context.Context, request wire.Body) (wire.Body, error) {
		response, err := u.handle(ctx, request.Message.(Req))
		if err != nil || isNil(response) {
			return wire.Body{}, err
		}
		if err := responses.Check(response); err != nil {
			return wire.Body{}, errors.NewErrorf(errors.Internal, "response of %s: %w", method.FullName(), err)
		}
		return responses.Body(response), nil
	}
	return bound, bound.apply(u.options, method)
}

// apply applies the options. It returns an error if an option is invalid or if the affinity
// function does not accept the handler's request type.
func (b *boundHandler) apply(options []HandlerOption, method *registry.Method) error {
	for _, option := range options {
		if option == nil {
			continue
		}
		if err := option.bindOption(b, method); err != nil {
			return err
		}
	}
	if b.Affinity != nil && !b.requestType.DecodedType.AssignableTo(b.affinityRequest) {
		return fmt.Errorf("affinity function: wanted request type %s, given %s",
			b.requestType.DecodedType, b.affinityRequest)
	}
	return nil
}

// Raw returns a handler that calls handle for each request without decoding it. The request and the
// response are encoded messages; dynpsrpc does not check them, unless there are interceptors, which
// receive decoded messages. handle must not modify the request, but may keep it. The response must
// not be modified after handle has returned.
func Raw(
	handle func(ctx context.Context, method *registry.Method, request []byte) ([]byte, error), opts ...HandlerOption,
) Handler {
	return rawHandler{handle, opts}
}

type rawHandler struct {
	handle  func(context.Context, *registry.Method, []byte) ([]byte, error)
	options []HandlerOption
}

func (r rawHandler) bind(method *registry.Method) (*boundHandler, error) {
	if r.handle == nil {
		return nil, errors.New("the function is nil")
	}
	if !isCall(method) {
		return nil, fmt.Errorf("the method is a %s, not a call: %s", kindNouns[method.Kind()], handlerHints[method.Kind()])
	}
	requests, err := message.Resolve[proto.Message](method.Service(), method.Input())
	if err != nil {
		return nil, fmt.Errorf("request type: %w", err)
	}
	responses, err := message.Resolve[proto.Message](method.Service(), method.Output())
	if err != nil {
		return nil, fmt.Errorf("response type: %w", err)
	}
	bound := &boundHandler{
		requestType:  requests,
		responseType: responses,
		raw:          true,
		Handler:      serve.Handler{Decode: func(raw []byte) (wire.Body, error) { return wire.Body{Raw: raw}, nil }},
		handle: func(ctx context.Context, request wire.Body) (wire.Body, error) {
			response, err := r.handle(ctx, method, request.Raw)
			return wire.Body{Raw: response}, err
		},
	}
	return bound, bound.apply(r.options, method)
}

// handlerHints says, for each kind of method, which handlers fit.
var handlerHints = map[registry.Kind]string{
	registry.KindSingle:       "use dynamic.Unary",
	registry.KindMulti:        "use dynamic.Unary",
	registry.KindStream:       "use dynamic.Stream",
	registry.KindSubscription: "it needs no handler, its updates are sent with Publish",
}

// isCall reports whether clients use the method with single calls or multi calls.
func isCall(method *registry.Method) bool {
	return method.Kind() == registry.KindSingle || method.Kind() == registry.KindMulti
}

// isNil reports whether message is nil or contains a nil pointer.
func isNil(message proto.Message) bool {
	// For a nil *dynamicpb.Message, the call ProtoReflect().IsValid() would panic.
	if dynamic, ok := message.(*dynamicpb.Message); ok {
		return dynamic == nil
	}
	return message == nil || !message.ProtoReflect().IsValid()
}
