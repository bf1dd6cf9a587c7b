package validation

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

type validatedMulti struct {
	dynamic.ClientMultiRPCHandler

	validation
	method *registry.Method
}

// Send validates the request before sending it.
func (m validatedMulti) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	if err := m.check("request", m.method, request); err != nil {
		return err
	}
	return m.ClientMultiRPCHandler.Send(ctx, request, opts...)
}
