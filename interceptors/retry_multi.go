package interceptors

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

type retryMulti struct {
	dynamic.ClientMultiRPCHandler

	retrier *retrier
	info    dynamic.RPCInfo
}

func (m retryMulti) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	return m.retrier.run(ctx, operation{
		method: m.info.Descriptor, deadline: m.info.Deadline(ctx, opts...), idempotent: m.retrier.idempotent(m.info.Descriptor),
		do: func(ctx context.Context) error { return m.ClientMultiRPCHandler.Send(ctx, request, opts...) },
	})
}

func (r *retrier) multi(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return retryMulti{next, r, info}
}
