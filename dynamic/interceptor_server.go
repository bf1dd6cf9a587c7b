package dynamic

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// ServerRPCHandler handles one request. In the end it is the service's handler. Its response is never nil unless there
// is an error.
type ServerRPCHandler func(ctx context.Context, request proto.Message) (proto.Message, error)

// ServerRPCInterceptor handles one request, single or multi, by calling the next handler: once, several times, or not
// at all. It runs on the request's goroutine, when the server has been chosen, and may put another request, response,
// context or error in place of what it got. A message must be of the method's type; its Go type does not matter. A nil
// response without an error is an empty one. A panic is answered as that of a handler. What the client has sent besides
// the request is in ctx, see [RequestInfoFromContext].
type ServerRPCInterceptor func(
	ctx context.Context, request proto.Message, info RPCInfo, handler ServerRPCHandler,
) (proto.Message, error)

// serveFunc handles a request as [boundHandler] does.
type serveFunc func(ctx context.Context, request wire.Body) (wire.Body, error)

// intercepted returns what handles requests through interceptors. Without any it is the handler itself.
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

func chainServerRPC(interceptors []ServerRPCInterceptor, info RPCInfo, handler ServerRPCHandler) ServerRPCHandler {
	for _, intercept := range slices.Backward(interceptors) {
		next := handler
		handler = func(ctx context.Context, request proto.Message) (proto.Message, error) {
			return intercept(ctx, request, info, next)
		}
	}
	return handler
}
