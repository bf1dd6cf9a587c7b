package dynamic

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// ServerRPCHandler handles one request. The innermost handler is the handler of the service. Its
// response is not nil unless it returns an error.
type ServerRPCHandler func(ctx context.Context, request proto.Message) (proto.Message, error)

// ServerRPCInterceptor handles one request of a single or multi call. It calls handler, the next
// one in the chain, once, several times, or not at all, and may replace the request, response,
// context or error. A message must be of the method's type; its Go type does not matter. A nil
// response without an error is sent as an empty message.
//
// The interceptor runs on the request's goroutine after the client has selected this server. A
// panic is treated as a panic of the service's handler. ctx carries the client's id and metadata,
// see [RequestInfoFromContext].
type ServerRPCInterceptor func(
	ctx context.Context, request proto.Message, info RPCInfo, handler ServerRPCHandler,
) (proto.Message, error)

// serveFunc handles one request. It has the signature of boundHandler.handle.
type serveFunc func(ctx context.Context, request wire.Body) (wire.Body, error)

// intercepted returns a function that passes requests through the interceptors to the handler.
// Without interceptors it returns the handler's own function.
func (b *boundHandler) intercepted(interceptors []ServerRPCInterceptor, info RPCInfo) serveFunc {
	switch {
	case len(interceptors) == 0:
		return b.handle
	case b.raw:
		return b.interceptedRaw(interceptors, info)
	}
	handler := chainServerRPC(interceptors, info, func(ctx context.Context, request proto.Message) (proto.Message, error) {
		request, err := b.requestType.Convert(request)
		if err != nil {
			return nil, wrongMessage("request", info.Descriptor, err)
		}
		response, err := b.handle(ctx, wire.Body{Message: request})
		switch {
		case err != nil:
			return nil, err
		case response.Message == nil:
			return b.responseType.New(), nil
		}
		return response.Message, nil
	})
	return func(ctx context.Context, request wire.Body) (wire.Body, error) {
		response, err := handler(ctx, request.Message)
		if err != nil || isNil(response) {
			return wire.Body{}, err
		}
		if err := b.responseType.CheckName(response); err != nil {
			return wire.Body{}, wrongMessage("response", info.Descriptor, err)
		}
		return b.responseType.Body(response), nil
	}
}

// chainServerRPC builds the handler chain of interceptors around handler. It is built once per
// endpoint, so that a call does not allocate for it.
func chainServerRPC(interceptors []ServerRPCInterceptor, info RPCInfo, handler ServerRPCHandler) ServerRPCHandler {
	for _, intercept := range slices.Backward(interceptors) {
		next := handler
		handler = func(ctx context.Context, request proto.Message) (proto.Message, error) {
			return intercept(ctx, request, info, next)
		}
	}
	return handler
}
