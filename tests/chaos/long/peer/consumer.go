package main

import (
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// runConsumer subscribes to both methods of the service Feeds and reports each update. When ctx
// ends, it closes the subscriptions, but still reports the updates that they have buffered.
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
		readers.Go(func() { // this goroutine ends when the subscription does
			for update := range subscription.Channel() {
				reportRan(kind, update.GetValue())
			}
		})
	}
	go readCommands(nil) // this goroutine runs until the process ends
	reportf("ready")
	readers.Wait()
	return conn.Close()
}
