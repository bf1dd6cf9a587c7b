// Native is a plugin of the Go toolchain: a shared object that the host loads into its own process.
package main

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/example/plugins/greetings"
)

// Services is what the host asks for.
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
