package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/serve"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// intercepted returns a function that passes requests through interceptors to the handler. If there
// are no interceptors, it returns the handler's own function.
func (b *boundHandler) intercepted(interceptors []ServerRPCInterceptor, info RPCInfo) serve.HandleFunc {
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
