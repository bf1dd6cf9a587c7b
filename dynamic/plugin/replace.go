package plugin

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

func replaceRegistration(server *dynamic.Server, r *dynamic.Registration, descriptor any, handlers dynamic.Handlers, opts ...dynamic.RegisterOption) (*dynamic.Registration, error) {
	_ = r.Close(context.Background())
	return server.Register(descriptor, handlers, opts...)
}
