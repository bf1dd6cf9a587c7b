// Command native is a Go plugin, which is a shared object that the host loads into its own process.
// The plugins command builds and loads it. The method Greet returns the version of the plugin and a
// greeting.
package main

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/example/plugins/greetings"
)

// Services returns the services of the plugin. The host looks up this function by name.
func Services() ([]plugin.Service, error) {
	described, err := greetings.Service("Native")
	if err != nil {
		return nil, err
	}
	return []plugin.Service{{Descriptor: described.Descriptor(), Handlers: dynamic.Handlers{"Greet": dynamic.Unary(greet)}}}, nil
}

func greet(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return wrapperspb.String(fmt.Sprintf("version %s, loaded into the host: hello, %s", version, name.GetValue())), nil
}

func main() {}
