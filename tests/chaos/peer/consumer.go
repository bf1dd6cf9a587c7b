package main

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// runConsumer subscribes to both feeds until ctx ends. It then reads the updates that it has
// already received.
func runConsumer(ctx context.Context, _ settings, link bus.Bus) error {
	conn, err := newConn(link)
	if err != nil {
		return err
	}
	var readers sync.WaitGroup
	for kind, method := range feeds {
		client, err := dynamic.NewClient[text, text](conn, "chaos.Feeds/"+method)
		if err != nil {
			return err
		}
		subscription, err := client.Subscribe(context.Background())
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { _ = subscription.Close() })
		readers.Go(func() { // ends with the subscription
			for update := range subscription.Channel() {
				reportRan(kind, update.GetValue())
			}
		})
	}
	go readCommands(nil) // reads until the process ends
	reportf("ready")
	readers.Wait()
	return conn.Close()
}
