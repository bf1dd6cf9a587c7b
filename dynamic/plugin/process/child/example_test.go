package child_test //nolint:testableexamples // it serves until the host stops it

import (
	"context"

	"google.golang.org/protobuf/types/known/wrapperspb"

	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus" // registers the driver for the host's bus
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/process/child"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// greeter is the service that the program serves. It comes from generated code or is parsed at run
// time.
var greeter *registry.Service

func hello(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return wrapperspb.String("Hello, " + name.GetValue()), nil
}

// This is the main function of a program that serves one service.
func ExampleMain() {
	child.Main(func(_ context.Context, server *dynamic.Server) error {
		_, err := server.Register(greeter, dynamic.Handlers{"Hello": dynamic.Unary(hello)})
		return err
	})
}
