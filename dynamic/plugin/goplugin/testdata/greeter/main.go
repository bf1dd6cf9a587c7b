// Package main is a plugin for tests. The linker sets the variable version.
package main

import (
	"context"
	"os"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

var version = "none"

// Services returns the plugin's services. The loader calls it.
func Services() ([]plugin.Service, error) {
	if os.Getenv("PANIC") != "" {
		panic("no services")
	}
	if os.Getenv("HANG") != "" {
		select {}
	}
	reg := registry.New()
	if err := reg.ParseProto(os.DirFS(os.Getenv("PROTOS")), "greeting.proto"); err != nil {
		return nil, err
	}
	service, _ := reg.Service("greeting.Greeter")
	hello := func(context.Context, *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
		return wrapperspb.String("version " + version), nil
	}
	return []plugin.Service{{Descriptor: service.Descriptor(), Handlers: dynamic.Handlers{"Hello": dynamic.Unary(hello)}}}, nil
}

func main() {}
