package child_test //nolint:testableexamples // it serves until it is told to end

import (
	"context"

	"google.golang.org/protobuf/types/known/wrapperspb"

	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus" // the driver of the bus that the host uses
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/process/child"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// greeter is what a program has from its compiled protos, or parses.
var greeter *registry.Service

func hello(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return wrapperspb.String("Hello, " + name.GetValue()), nil
}

// The main function of a program that is a plugin.
func Example() {
	child.Main(func(_ context.Context, server *dynamic.Server) error {
		_, err := server.Register(greeter, dynamic.Handlers{"Hello": dynamic.Unary(hello)})
		return err
	})
}
