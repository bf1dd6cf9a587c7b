package dynamic

import (
	"context"
	"fmt"
	"reflect"
	"unsafe"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/serve"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// implementation is the argument of HandlersOf.
type implementation struct {
	// value is the pointer with which the Go methods are called. It is the argument itself if that
	// is a pointer, and a pointer to a copy of the argument otherwise.
	value reflect.Value
	// goType is the type of the argument.
	goType reflect.Type
	// service is the interface passed to HandlersAs, or nil.
	service reflect.Type
}

// method returns the Go method with this name. It returns false if there is no such method, or if
// the method does not belong to the interface in the field service. The receiver of the returned
// method is a pointer such as i.value.
func (i *implementation) method(name string) (reflect.Method, bool) {
	for _, t := range []reflect.Type{i.goType, i.service} {
		if t == nil {
			continue
		}
		if _, ok := t.MethodByName(name); !ok {
			return reflect.Method{}, false
		}
	}
	return i.value.Type().MethodByName(name)
}

// implementationHandler is the handler for one exported Go method of an implementation. It is bound
// only if the service has a method of this name.
type implementationHandler struct {
	impl *implementation
	name string
}

func (h *implementationHandler) bind(method *registry.Method) (*boundHandler, error) {
	goMethod, _ := h.impl.method(h.name)
	var bound *boundHandler
	var err error
	switch {
	case method.Kind() == registry.KindSubscription:
		err = errors.New("a subscription has no handler; updates are sent with Registration.Publish: rename the Go method")
	case method.Kind() == registry.KindStream:
		bound, err = h.bindStream(method, goMethod)
	default:
		bound, err = h.bindCall(method, goMethod)
	}
	if err != nil {
		return nil, fmt.Errorf("(%s).%s: %w", h.impl.goType, h.name, err)
	}
	return bound, nil
}

// methodFunction converts the function of a Go method to type F, so that it can be called without
// reflect.Call. With reflect.Call, an RPC would take a sixth longer. The first parameter of F is
// the receiver.
//
// The pointer types of messages are known only at run time, so F has unsafe.Pointer in their place.
// Because Go represents all pointers alike, this is sound if callers pass pointers to the right
// type.
func methodFunction[F any](method reflect.Method) F {
	function := reflect.New(method.Func.Type())
	function.Elem().Set(method.Func)
	return *(*F)(function.UnsafePointer())
}

// receiver returns the pointer to pass to a function from methodFunction.
func (i *implementation) receiver() unsafe.Pointer { return i.value.UnsafePointer() }

// pointerType is a Go type that is a pointer to a message.
type pointerType struct{ reflect.Type }

// pointer returns the pointer in a message, or nil if the message is nil. It panics if the message
// is not of the type t.
func (t pointerType) pointer(m proto.Message) unsafe.Pointer {
	if m == nil {
		return nil
	}
	value := reflect.ValueOf(m)
	if value.Type() != t.Type {
		panic(fmt.Sprintf("dynpsrpc: a message of type %T was passed to a handler for %s", m, t.Type))
	}
	return value.UnsafePointer()
}

// message returns the message at which pointer points, as a value of type t.
func (t pointerType) message(pointer unsafe.Pointer) proto.Message {
	return reflect.NewAt(t.Elem(), pointer).Interface().(proto.Message)
}

// bindCall binds a Go method to a method with single or multi calls.
func (h *implementationHandler) bindCall(method *registry.Method, goMethod reflect.Method) (*boundHandler, error) {
	t := goMethod.Type
	if !hasSignature(t, []reflect.Type{contextType, messageType}, []reflect.Type{messageType, errorType}) {
		return nil, fmt.Errorf("want %s, have %s", wantedSignature(method), signatureOf(t))
	}
	request, response := pointerType{t.In(2)}, pointerType{t.Out(0)}
	requests, requestErr := resolvePointer("request", request, method.Service(), method.Input())
	responses, responseErr := resolvePointer("response", response, method.Service(), method.Output())
	if err := errors.Join(requestErr, responseErr); err != nil {
		return nil, fmt.Errorf("want %s: %w", wantedSignature(method), oneLine(err))
	}
	receiver := h.impl.receiver()
	function := methodFunction[func(unsafe.Pointer, context.Context, unsafe.Pointer) (unsafe.Pointer, error)](goMethod)
	bound := &boundHandler{
		requestType:  requests,
		responseType: responses,
		Handler: serve.Handler{Decode: func(raw []byte) (wire.Body, error) {
			message, err := requests.Decode(raw)
			return wire.Body{Message: message}, err
		}},
		handle: func(ctx context.Context, r wire.Body) (wire.Body, error) {
			pointer, err := function(receiver, ctx, request.pointer(r.Message))
			if err != nil || pointer == nil {
				return wire.Body{}, err
			}
			result := response.message(pointer)
			if err := responses.Check(result); err != nil {
				return wire.Body{}, errors.NewErrorf(errors.Internal, "response of %s: %w", method.FullName(), err)
			}
			return responses.Body(result), nil
		},
	}
	var err error
	if affinity, wanted := h.affinityMethod(method); wanted {
		bound.Affinity, err = h.callAffinity(method, affinity, request)
	}
	return bound, err
}

// callAffinity returns the affinity function of a method with single calls.
func (h *implementationHandler) callAffinity(
	method *registry.Method, goMethod reflect.Method, request pointerType,
) (func(context.Context, wire.Body) float32, error) {
	receiver, t := h.impl.receiver(), goMethod.Type
	switch {
	case t == nil:
		return nil, missingAffinity(method)
	case hasSignature(t, []reflect.Type{contextType, request.Type}, []reflect.Type{float32Type}):
		function := methodFunction[func(unsafe.Pointer, context.Context, unsafe.Pointer) float32](goMethod)
		return func(ctx context.Context, r wire.Body) float32 {
			return function(receiver, ctx, request.pointer(r.Message))
		}, nil
	case hasSignature(t, []reflect.Type{request.Type}, []reflect.Type{float32Type}):
		function := methodFunction[func(unsafe.Pointer, unsafe.Pointer) float32](goMethod)
		return func(_ context.Context, r wire.Body) float32 { return function(receiver, request.pointer(r.Message)) }, nil
	default:
		return nil, fmt.Errorf("%s: want %s, have %s", goMethod.Name, wantedAffinity(method), signatureOf(t))
	}
}

// bindStream binds a Go method to a stream method.
func (h *implementationHandler) bindStream(method *registry.Method, goMethod reflect.Method) (*boundHandler, error) {
	t := goMethod.Type
	factory := streamFactoryOf(t)
	if factory == nil {
		return nil, fmt.Errorf("want %s, have %s", wantedSignature(method), signatureOf(t))
	}
	var options []HandlerOption
	if affinity, wanted := h.affinityMethod(method); wanted {
		function, err := h.streamAffinity(method, affinity)
		if err != nil {
			return nil, err
		}
		options = append(options, WithStreamAffinity(function))
	}
	bound, err := factory.handlerOf(h.impl, goMethod, options).bind(method)
	if err != nil {
		return nil, fmt.Errorf("want %s: %w", wantedSignature(method), err)
	}
	return bound, nil
}

// streamAffinity returns the affinity function of a stream method.
func (h *implementationHandler) streamAffinity(
	method *registry.Method, goMethod reflect.Method,
) (func(context.Context) float32, error) {
	receiver, t := h.impl.receiver(), goMethod.Type
	switch {
	case t == nil:
		return nil, missingAffinity(method)
	case hasSignature(t, []reflect.Type{contextType}, []reflect.Type{float32Type}):
		function := methodFunction[func(unsafe.Pointer, context.Context) float32](goMethod)
		return func(ctx context.Context) float32 { return function(receiver, ctx) }, nil
	case hasSignature(t, nil, []reflect.Type{float32Type}):
		function := methodFunction[func(unsafe.Pointer) float32](goMethod)
		return func(context.Context) float32 { return function(receiver) }, nil
	default:
		return nil, fmt.Errorf("%s: want %s, have %s", goMethod.Name, wantedAffinity(method), signatureOf(t))
	}
}

// affinityMethod returns the Go method that is the affinity function of h. wanted reports whether h
// needs an affinity function. If there is no such Go method, affinity.Type is nil.
func (h *implementationHandler) affinityMethod(method *registry.Method) (affinity reflect.Method, wanted bool) {
	if !method.RequireClaim() || method.Routing() != registry.RoutingAffinity {
		return affinity, false
	}
	affinity, _ = h.impl.method(h.name + affinitySuffix)
	return affinity, true
}

// streamFactory creates the handler of a stream method from a Go method. *typedStream implements
// it.
type streamFactory interface {
	// serverStream returns the interface type of the streams.
	serverStream() reflect.Type
	// handlerOf returns a handler that calls a Go method of impl.
	handlerOf(impl *implementation, goMethod reflect.Method, options []HandlerOption) Handler
}

// streamFactoryOf returns the factory for a Go method that handles streams. It returns nil unless
// the method has exactly one parameter, a ServerStream, and returns only an error.
func streamFactoryOf(goMethod reflect.Type) streamFactory {
	if goMethod.NumIn() != 2 || goMethod.In(1).Kind() != reflect.Interface ||
		!hasSignature(goMethod, []reflect.Type{goMethod.In(1)}, []reflect.Type{errorType}) {
		return nil
	}
	stream := goMethod.In(1)
	for accessor := range stream.Methods() {
		if accessor.Name != "implementation" || accessor.Type.NumOut() != 1 {
			continue
		}
		factory, ok := reflect.TypeAssert[streamFactory](reflect.Zero(accessor.Type.Out(0)))
		if ok && factory.serverStream() == stream {
			return factory
		}
	}
	return nil
}

// serverStream implements streamFactory.
func (t *typedStream[Send, Recv]) serverStream() reflect.Type {
	return reflect.TypeFor[ServerStream[Send, Recv]]()
}

// handlerOf implements streamFactory. It does not use t, which is nil.
func (t *typedStream[Send, Recv]) handlerOf(
	impl *implementation, goMethod reflect.Method, options []HandlerOption,
) Handler {
	receiver := impl.receiver()
	function := methodFunction[func(unsafe.Pointer, ServerStream[Send, Recv]) error](goMethod)
	return Stream(func(stream ServerStream[Send, Recv]) error { return function(receiver, stream) }, options...)
}

// resolvePointer returns the [message.Type] for messages that have the Go type t. noun is "request"
// or "response" and is used in the error.
func resolvePointer(
	noun string, t pointerType, resolver message.Resolver, descriptor protoreflect.MessageDescriptor,
) (message.Type, error) {
	resolved, err := message.ResolveGoType(resolver, descriptor, t.Type)
	if err != nil {
		return resolved, fmt.Errorf("%s type: %w", noun, err)
	}
	return resolved, nil
}
