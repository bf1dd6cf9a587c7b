//go:build !psrpc_oldest

package main

import (
	"context"

	"github.com/livekit/psrpc"
	"github.com/livekit/psrpc/pkg/client"
	"github.com/livekit/psrpc/pkg/info"
	"github.com/livekit/psrpc/pkg/rand"
	"github.com/livekit/psrpc/pkg/server"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// define describes the service for psrpc, as its generated code does.
func define(id string) *info.ServiceDefinition {
	d := &info.ServiceDefinition{Name: "Shop", ID: id}
	d.RegisterMethod("Sell", false, false, true, true)
	d.RegisterMethod("Quote", true, false, true, false)
	d.RegisterMethod("Chat", false, false, true, true)
	return d
}

// servePsrpc serves the service with psrpc.
func servePsrpc(b psrpc.MessageBus, s *shop) (stop func(), err error) {
	rpc := server.NewRPCServer(define(rand.NewServerID()), b)
	err = errors.Join(
		server.RegisterHandler(rpc, "Sell", nil, s.Sell, nil),
		server.RegisterHandler(rpc, "Quote", nil, s.Quote, s.QuoteAffinity),
		server.RegisterStreamHandler(rpc, "Chat", nil, func(stream psrpc.ServerStream[text, text]) error {
			return chat(s, stream)
		}, nil),
	)
	return func() { rpc.Close(false) }, err
}

// connectPsrpc returns a client that calls the service with psrpc.
func connectPsrpc(b psrpc.MessageBus) (calls shopClient, stop func(), err error) {
	c, err := client.NewRPCClientWithStreams(define(rand.NewClientID()), b,
		psrpc.WithClientTimeout(timeout), psrpc.WithClientSelectTimeout(timeout))
	if err != nil {
		return shopClient{}, nil, err
	}
	single := func(method string) call {
		return func(ctx context.Context, request text) (text, error) {
			return client.RequestSingle[text](ctx, c, method, nil, request)
		}
	}
	openChat := func(ctx context.Context, message text) (text, error) {
		stream, err := client.OpenStream[text, text](ctx, c, "Chat", nil)
		if err != nil {
			return nil, err
		}
		return talk(stream, message)
	}
	return shopClient{single("Sell"), single("Quote"), openChat}, c.Close, nil
}
