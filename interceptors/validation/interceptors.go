package validation

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func (v validation) serve(
	ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (proto.Message, error) {
	if err := v.check("request", info.Descriptor, request); err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

func (v validation) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
		if err := v.check("request", info.Descriptor, request); err != nil {
			return nil, err
		}
		return next(ctx, request, opts...)
	}
}

func (v validation) publish(info dynamic.RPCInfo, next dynamic.PublishHandler) dynamic.PublishHandler {
	return func(ctx context.Context, update proto.Message) error {
		if err := v.check("update", info.Descriptor, update); err != nil {
			return err
		}
		return next(ctx, update)
	}
}

func (v validation) deliver(info dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
	return func(ctx context.Context, update proto.Message) error {
		if err := v.check("update", info.Descriptor, update); err != nil {
			return err
		}
		return next(ctx, update)
	}
}

type validatedMulti struct {
	dynamic.ClientMultiRPCHandler

	validation
	method *registry.Method
}

func (v validation) multi(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return validatedMulti{next, v, info.Descriptor}
}

// Send checks the request.
func (m validatedMulti) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	if err := m.check("request", m.method, request); err != nil {
		return err
	}
	return m.ClientMultiRPCHandler.Send(ctx, request, opts...)
}

type clientStream struct {
	dynamic.StreamHandler

	validation
	method *registry.Method
}

func (v validation) clientStream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	return clientStream{next, v, info.Descriptor}
}

// Send checks the message.
func (s clientStream) Send(message proto.Message, opts ...dynamic.StreamOption) error {
	if err := s.check("message", s.method, message); err != nil {
		return err
	}
	return s.StreamHandler.Send(message, opts...)
}

type serverStream struct {
	dynamic.StreamHandler

	validation
	method *registry.Method
}

func (v validation) serverStream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	return serverStream{next, v, info.Descriptor}
}

// Recv checks the message.
func (s serverStream) Recv(message proto.Message) error {
	if err := s.check("message", s.method, message); err != nil {
		return err
	}
	return s.StreamHandler.Recv(message)
}
