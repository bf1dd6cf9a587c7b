package metrics

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

func (m *metrics) serve(
	ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (response proto.Message, err error) {
	c := m.begin(ctx, &m.server, info)
	c.measure(func() error {
		c.observeSize(c.received, request)
		if response, err = handler(ctx, request); err == nil {
			c.observeSize(c.sent, response)
		}
		return err
	})
	return response, err
}

func (m *metrics) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (response proto.Message, err error) {
		c := m.begin(ctx, &m.client, info)
		c.measure(func() error {
			c.observeSize(c.sent, request)
			if response, err = next(ctx, request, opts...); err == nil {
				c.observeSize(c.received, response)
			}
			return err
		})
		return response, err
	}
}

func (m *metrics) publish(info dynamic.RPCInfo, next dynamic.PublishHandler) dynamic.PublishHandler {
	return func(ctx context.Context, update proto.Message) (err error) {
		c := m.begin(ctx, &m.publication, info)
		c.measure(func() error {
			c.observeSize(c.sent, update)
			err = next(ctx, update)
			return err
		})
		return err
	}
}

func (m *metrics) deliver(info dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
	return func(ctx context.Context, update proto.Message) (err error) {
		c := m.begin(ctx, &m.delivery, info)
		c.measure(func() error {
			c.observeSize(c.received, update)
			err = next(ctx, update)
			return err
		})
		return err
	}
}
