package interceptors

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

func (l *logging) publishOn(side string) dynamic.PublishInterceptor {
	return func(info dynamic.RPCInfo, next dynamic.PublishHandler) dynamic.PublishHandler {
		return func(ctx context.Context, update proto.Message) (err error) {
			return l.logUpdate(ctx, "publish", side, info, update, next)
		}
	}
}

func (l *logging) deliver(info dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
	return func(ctx context.Context, update proto.Message) error {
		return l.logUpdate(ctx, "delivery", "client", info, update, next)
	}
}

func (l *logging) logUpdate(
	ctx context.Context, what, side string, info dynamic.RPCInfo, update proto.Message,
	next func(context.Context, proto.Message) error,
) (err error) {
	n := l.begin(what, side, info)
	n.addMessage("update", update)
	returned := false
	defer n.endOrPanic(ctx, &returned, &err)
	err = next(ctx, update)
	returned = true
	return err
}
