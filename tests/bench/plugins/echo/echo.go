package echo

import (
	"context"
	"embed"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// FileName is the name of the .proto file in [Files].
const FileName = "echo.proto"

// Files contains the .proto file that defines the service.
//
//go:embed echo.proto
var Files embed.FS

// Service returns the service with the given full name. The .proto file defines the same service
// under several names, one for each plugin and native handler.
func Service(name string) (*registry.Service, error) {
	reg := registry.New()
	if err := reg.ParseProto(Files, FileName); err != nil {
		return nil, err
	}
	service, _ := reg.Service(name)
	return service, nil
}

// Handlers returns the handlers of the service, for use with or without a plugin.
func Handlers() dynamic.Handlers { return dynamic.Handlers{"Echo": dynamic.Unary(answer)} }

func answer(_ context.Context, request *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return request, nil
}
