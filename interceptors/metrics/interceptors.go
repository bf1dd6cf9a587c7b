package metrics

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

func (m *measuring) serve(
	ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (response proto.Message, err error) {
	c := m.begin(ctx, &m.server, info)
	c.run(func() error {
		c.size(c.received, request)
		if response, err = handler(ctx, request); err == nil {
			c.size(c.sent, response)
		}
		return err
	})
	return response, err
}

func (m *measuring) calling(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (response proto.Message, err error) {
		c := m.begin(ctx, &m.client, info)
		c.run(func() error {
			c.size(c.sent, request)
			if response, err = next(ctx, request, opts...); err == nil {
				c.size(c.received, response)
			}
			return err
		})
		return response, err
	}
}

func (m *measuring) publishing(info dynamic.RPCInfo, next dynamic.PublishHandler) dynamic.PublishHandler {
	return func(ctx context.Context, update proto.Message) (err error) {
		c := m.begin(ctx, &m.publish, info)
		c.run(func() error {
			c.size(c.sent, update)
			err = next(ctx, update)
			return err
		})
		return err
	}
}

func (m *measuring) delivering(info dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
	return func(ctx context.Context, update proto.Message) (err error) {
		c := m.begin(ctx, &m.delivery, info)
		c.run(func() error {
			c.size(c.received, update)
			err = next(ctx, update)
			return err
		})
		return err
	}
}
