// Package main is a host of Go plugins for tests. It loads the plugin from each folder given as an
// argument and calls its service. For each folder, it writes one line of JSON, which contains
// either the error or the response.
package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/goplugin"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func main() {
	reg := registry.New()
	must(0, reg.ParseProto(os.DirFS(os.Getenv("PROTOS")), "greeting.proto"))
	b := bus.NewLocal()
	host := must(plugin.NewHost(dynamic.NewServer(b), plugin.WithLoaders(goplugin.NewLoader())))
	conn := must(dynamic.NewConn(b, reg, dynamic.WithClientTimeout(time.Minute), dynamic.WithSelectionTimeout(time.Minute)))
	lines := json.NewEncoder(os.Stdout)
	for _, folder := range os.Args[1:] {
		ctx, cancel := context.WithTimeout(context.Background(), must(time.ParseDuration(os.Getenv("TIMEOUT"))))
		err := host.Load(ctx, folder)
		cancel()
		if err != nil {
			must(0, lines.Encode(err.Error()))
			continue
		}
		response := must(dynamic.Invoke(context.Background(), conn, "greeting.Greeter/Hello", &wrapperspb.StringValue{}))
		must(0, lines.Encode(response.(*wrapperspb.StringValue).GetValue()))
	}
	must(0, host.Shutdown(context.Background()))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
