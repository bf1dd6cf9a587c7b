package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	newsInterval    = 200 * time.Millisecond
	shutdownTimeout = 10 * time.Second
)

// serve handles calls and publishes updates until ctx ends. It then waits for the calls in progress
// to finish.
func serve(ctx context.Context, b bus.Bus, reg *registry.Registry, s settings) error {
	server := dynamic.NewServer(b)
	defer server.Kill()
	service, _ := reg.Service("fleet.Fleet")
	var greetings atomic.Int64
	registration, err := server.Register(service, dynamic.Handlers{
		"Greet": dynamic.Unary(func(_ context.Context, caller text) (text, error) {
			greetings.Add(1)
			return wrapperspb.String(fmt.Sprintf("%s in %s says hello to %s", server.ID(), s.region, caller.GetValue())), nil
		}),
		"Weather": dynamic.Unary(func(context.Context, text) (text, error) {
			return wrapperspb.String("it rains in " + s.region), nil
		}),
	})
	if err != nil {
		return err
	}
	if err := registration.RegisterTopic("Weather", s.region); err != nil {
		return err
	}
	// Clients can now reach the server.
	fmt.Printf("%s serves region %s\n", server.ID(), s.region)

	ticker := time.NewTicker(newsInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			news := fmt.Sprintf("%s sent %d greetings", server.ID(), greetings.Load())
			if err := registration.Publish(ctx, "News", wrapperspb.String(news)); err != nil {
				// A later update may succeed, because the bus reconnects.
				fmt.Println("cannot publish to News:", err)
			}
		case <-ctx.Done():
			deadline, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
			defer cancel()
			err := server.Shutdown(deadline)
			fmt.Printf("%s stopped after %d greetings\n", server.ID(), greetings.Load())
			return err
		}
	}
}
