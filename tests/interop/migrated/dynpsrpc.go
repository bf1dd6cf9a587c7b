//go:build !psrpc_oldest

package main

import (
	"context"
	_ "embed"
	"testing/fstest"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

//go:embed shop.proto
var source []byte

const serviceName = "interop.migrated.Shop"

func newRegistry() (*registry.Registry, error) {
	reg := registry.New()
	return reg, reg.ParseProto(fstest.MapFS{"shop.proto": {Data: source}}, "shop.proto")
}

// serve serves the service with dynpsrpc.
func serve(b bus.Bus, reg *registry.Registry, s *shop) (stop func(), err error) {
	service, err := reg.FindService(serviceName)
	if err != nil {
		return nil, err
	}
	rpc := dynamic.NewServer(b)
	_, err = rpc.Register(service, dynamic.HandlersOf(s))
	return func() { _ = rpc.Shutdown(context.Background()) }, err
}

// connect returns a client that calls the service with dynpsrpc.
func connect(b bus.Bus, reg *registry.Registry) (calls shopClient, stop func(), err error) {
	conn, err := dynamic.NewConn(b, reg, dynamic.WithClientTimeout(timeout), dynamic.WithSelectionTimeout(timeout))
	if err != nil {
		return shopClient{}, nil, err
	}
	var bound struct {
		Sell, Quote dynamic.UnaryFunc[text, text]
		Chat        dynamic.StreamFunc[text, text]
	}
	if err := dynamic.Bind(conn, serviceName, &bound); err != nil {
		return shopClient{}, nil, err
	}
	single := func(f dynamic.UnaryFunc[text, text]) call {
		return func(ctx context.Context, request text) (text, error) { return f(ctx, request) }
	}
	openChat := func(ctx context.Context, message text) (text, error) {
		stream, err := bound.Chat(ctx)
		if err != nil {
			return nil, err
		}
		return talk(stream, message)
	}
	return shopClient{single(bound.Sell), single(bound.Quote), openChat}, func() { _ = conn.Close() }, nil
}
