package interceptors

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

type retryStream struct {
	dynamic.StreamHandler

	retrier    *retrier
	method     *registry.Method
	idempotent bool
}

func (s retryStream) Send(message proto.Message, opts ...dynamic.StreamOption) error {
	sendCtx, deadline, window := dynamic.SendBounds(s.StreamHandler, opts...)
	if window > 0 {
		return s.StreamHandler.Send(message, opts...)
	}
	return s.retrier.run(sendCtx, operation{
		method: s.method, deadline: deadline, idempotent: s.idempotent, streamCtx: dynamic.StreamContext(s.StreamHandler),
		do: func(ctx context.Context) error {
			if ctx == sendCtx {
				return s.StreamHandler.Send(message, opts...)
			}
			return s.StreamHandler.Send(message, append(slices.Clip(opts), dynamic.WithStreamContext(ctx))...)
		},
	})
}

func (r *retrier) stream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	return retryStream{next, r, info.Descriptor, r.idempotent(info.Descriptor)}
}
