package interceptors

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

type retryStream struct {
	dynamic.StreamHandler

	retrier    *retrier
	idempotent bool
}

func (s retryStream) Send(message proto.Message, opts ...dynamic.StreamOption) error {
	given, deadline, window := dynamic.SendBounds(s.StreamHandler, opts...)
	if window > 0 {
		return s.StreamHandler.Send(message, opts...)
	}
	return s.retrier.run(given, operation{
		deadline: deadline, idempotent: s.idempotent, streamCtx: dynamic.StreamContext(s.StreamHandler),
		do: func(ctx context.Context) error {
			if ctx == given {
				return s.StreamHandler.Send(message, opts...)
			}
			return s.StreamHandler.Send(message, append(slices.Clip(opts), dynamic.WithStreamContext(ctx))...)
		},
	})
}
