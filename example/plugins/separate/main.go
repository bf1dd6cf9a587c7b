// Command separate is a plugin that runs in its own process. The host starts and stops the process,
// which serves on the bus directly. The plugins command builds and loads the plugin. The method
// Greet returns the version of the plugin and a greeting.
package main

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	// This import registers the driver for the bus that the host uses.
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/process/child"
	"github.com/dynpsrpc/dynpsrpc/example/plugins/greetings"
)

func main() {
	child.Main(func(_ context.Context, server *dynamic.Server) error {
		described, err := greetings.Service("Separate")
		if err != nil {
			return err
		}
		_, err = server.Register(described, dynamic.Handlers{"Greet": dynamic.Unary(greet)})
		return err
	})
}

func greet(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return wrapperspb.String(fmt.Sprintf("version %s, in a process of its own: hello, %s", version, name.GetValue())), nil
}
