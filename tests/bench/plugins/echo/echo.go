package echo

import (
	"context"
	"embed"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// FileName is that of the source of the descriptor.
const FileName = "echo.proto"

// Files has the source.
//
//go:embed echo.proto
var Files embed.FS

// Service returns the service under a full name. Each plugin serves it under another one.
func Service(name string) (*registry.Service, error) {
	reg := registry.New()
	if err := reg.ParseProto(Files, FileName); err != nil {
		return nil, err
	}
	service, _ := reg.Service(name)
	return service, nil
}

// Handlers returns what serves it.
func Handlers() dynamic.Handlers { return dynamic.Handlers{"Echo": dynamic.Unary(answer)} }

func answer(_ context.Context, request *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return request, nil
}
