package dynamic

import (
	"context"
	"fmt"
	"reflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/internal/semaphore"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Handlers are the handlers of a service by method name, as in the descriptor.
type Handlers map[string]Handler

// Handler serves one method. [Unary], [Raw] and [Stream] make handlers.
type Handler interface {
	// bind fits the handler to a method, or says why it cannot serve it.
	bind(method *registry.Method) (*boundHandler, error)
}

// boundHandler is a handler fitted to its method.
type boundHandler struct {
	// decode makes of a request's bytes what handle takes.
	decode func(raw []byte) (wire.Body, error)
	handle func(ctx context.Context, request wire.Body) (wire.Body, error)
	// What handle takes and returns; encoded if raw.
	requestType, responseType message.Type
	raw                       bool
	// affinity is what the server offers itself with; nil: always 1. It takes requests of type affinityRequest.
	affinity        func(ctx context.Context, request wire.Body) float32
	affinityRequest reflect.Type
	semaphore       semaphore.Semaphore
	// stream is what serves a stream; the fields above are for calls.
	stream *boundStream
}

// HandlerOption configures a handler.
type HandlerOption interface {
	bindOption(bound *boundHandler, method *registry.Method) error
}

// WithAffinity sets the function that tells how well this server suits a request, for methods whose clients
// choose among the servers that claim it: higher is better, 0 claims without hope, and with less than 0 the
// server does not take the request. The default is always 1. Req is that of the handler. The function should be
// quick; if it panics, the server does not take the request.
func WithAffinity[Req proto.Message](affinity func(ctx context.Context, request Req) float32) HandlerOption {
	return affinityOption[Req](affinity)
}

type affinityOption[Req proto.Message] func(context.Context, Req) float32

func (f affinityOption[Req]) bindOption(bound *boundHandler, method *registry.Method) error {
	if f == nil {
		return errors.New("the affinity function is nil")
	}
	if !method.RequireClaim() {
		return errors.New("there is an affinity function, but the method's servers do not claim requests")
	}
	if bound.raw {
		return errors.New("there is an affinity function, but the function takes bytes")
	}
	bound.affinity = func(ctx context.Context, request wire.Body) float32 { return f(ctx, request.Message.(Req)) }
	bound.affinityRequest = reflect.TypeFor[Req]()
	return nil
}

// WithMaxConcurrent limits the requests of the method that are handled at the same time, as
// [WithMaxConcurrentRequests] does for a server. 0 or less is no limit.
func WithMaxConcurrent(requests int) HandlerOption {
	return concurrencyOption(max(requests, 0))
}

type concurrencyOption int64

func (n concurrencyOption) bindOption(bound *boundHandler, _ *registry.Method) error {
	bound.semaphore.Max = int64(n)
	return nil
}

// Unary makes a handler of a function that takes one request and returns one response. The request is the
// function's own. The response is the engine's once it is returned. A nil response without an error is an empty
// one.
//
// The context ends when the caller no longer waits, or when the server is killed. A panic is answered with the
// code internal; it is logged, and the caller learns nothing about it.
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
		return nil, fmt.Errorf("the method is a %s, not a call", kindNouns[method.Kind()])
	}
	requests, err := message.Resolve[Req](method.Input())
	if err != nil {
		return nil, fmt.Errorf("request type: %w", err)
	}
	responses, err := message.Resolve[Resp](method.Output())
	if err != nil {
		return nil, fmt.Errorf("response type: %w", err)
	}
	bound := &boundHandler{requestType: requests, responseType: responses}
	bound.decode = func(raw []byte) (wire.Body, error) {
		message, err := bound.requestType.Decode(raw) // an option may have changed it
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

func (b *boundHandler) apply(options []HandlerOption, method *registry.Method) error {
	for _, option := range options {
		if err := option.bindOption(b, method); err != nil {
			return err
		}
	}
	if b.affinity != nil && !b.requestType.DecodedType.AssignableTo(b.affinityRequest) {
		return fmt.Errorf("affinity function: wanted request type %s, given %s", b.requestType.DecodedType, b.affinityRequest)
	}
	return nil
}

// Raw makes a handler of a function that takes and returns encoded messages; nothing checks them. The request
// must not be changed, but may be kept. The response is the engine's once it is returned.
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
		return nil, fmt.Errorf("the method is a %s, not a call", kindNouns[method.Kind()])
	}
	requests, err := message.Resolve[proto.Message](method.Input())
	if err != nil {
		return nil, fmt.Errorf("request type: %w", err)
	}
	responses, err := message.Resolve[proto.Message](method.Output())
	if err != nil {
		return nil, fmt.Errorf("response type: %w", err)
	}
	bound := &boundHandler{
		requestType:  requests,
		responseType: responses,
		raw:          true,
		decode:       func(raw []byte) (wire.Body, error) { return wire.Body{Raw: raw}, nil },
		handle: func(ctx context.Context, request wire.Body) (wire.Body, error) {
			response, err := r.handle(ctx, method, request.Raw)
			return wire.Body{Raw: response}, err
		},
	}
	return bound, bound.apply(r.options, method)
}

// unimplementedCall serves the calls that were left without a handler.
func unimplementedCall(context.Context, *registry.Method, []byte) ([]byte, error) {
	return nil, errors.ErrUnimplemented
}

// isCall tells whether a method is request and response.
func isCall(method *registry.Method) bool {
	return method.Kind() == registry.KindSingle || method.Kind() == registry.KindMulti
}

// isNil reports whether a handler has returned nothing, perhaps as a nil pointer.
func isNil(message proto.Message) bool {
	if dynamic, ok := message.(*dynamicpb.Message); ok { // whose IsValid needs one
		return dynamic == nil
	}
	return message == nil || !message.ProtoReflect().IsValid()
}
