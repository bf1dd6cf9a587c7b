package faults

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/faults/scene"
)

const readyWorkers = 8

// repeat runs what so many times, on several goroutines, and requires that it never fails.
func repeat(t testing.TB, times int, what func(i int) error) {
	t.Helper()
	started := time.Now()
	var workers sync.WaitGroup
	for first := range readyWorkers {
		workers.Go(func() { // waited for below
			for i := first; i < times; i += readyWorkers {
				if err := what(i); err != nil {
					assert.NoError(t, err, "number %d", i)
					return
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d times in %v", times, time.Since(started).Round(time.Millisecond))
}

// What is registered can be called at once, from another connection.
func TestReady_RegisterAndCall(t *testing.T) {
	t.Parallel()
	scene.OnBrokers(t, func(t *testing.T, network scene.Network) {
		_, registration := scene.Serve(t, network.Connect(t), dynamic.Handlers{"MoveRegion": dynamic.Unary(scene.Echo)})
		client := scene.Caller(t, scene.Conn(t, network.Connect(t)), "MoveRegion")
		repeat(t, scaled(10_000), func(i int) error {
			topic := fmt.Sprintf("region-%d", i)
			if err := registration.RegisterTopic("MoveRegion", topic); err != nil {
				return err
			}
			if _, err := client.Topic(topic).Call(context.Background(), &api.MyRequest{}); err != nil {
				return err
			}
			return registration.DeregisterTopic("MoveRegion", topic)
		})
	})
}

// A whole server on a new connection, called by a new client on another one.
func TestReady_NewConnections(t *testing.T) {
	t.Parallel()
	scene.OnBrokers(t, func(t *testing.T, network scene.Network) {
		for range scaled(50) {
			t.Run("", func(t *testing.T) {
				scene.Serve(t, network.Connect(t), dynamic.Handlers{"NormalRPC": dynamic.Unary(scene.Echo)})
				client := scene.Caller(t, scene.Conn(t, network.Connect(t)), "NormalRPC")
				_, err := client.Call(t.Context(), &api.MyRequest{})
				require.NoError(t, err)
			})
		}
	})
}

// Who has subscribed gets what is published from then on, over another connection.
func TestReady_SubscribeAndPublish(t *testing.T) {
	t.Parallel()
	scene.OnBrokers(t, func(t *testing.T, network scene.Network) {
		_, publisher := scene.Serve(t, network.Connect(t), nil)
		client := scene.Subscriber(t, scene.Conn(t, network.Connect(t)), "UpdateRegionState")
		repeat(t, scaled(2_000), func(i int) error { return subscribeAndPublish(client, publisher, fmt.Sprintf("region-%d", i)) })
	})
}

func subscribeAndPublish(
	client *dynamic.Client[*api.Ignored, *api.MyUpdate], publisher *dynamic.Registration, topic string,
) error {
	ctx, cancel := context.WithTimeout(context.Background(), scene.Patience)
	defer cancel()
	subscription, err := client.Topic(topic).Subscribe(ctx)
	if err != nil {
		return err
	}
	defer subscription.Close()
	if err := publisher.Publish(ctx, "UpdateRegionState", &api.MyUpdate{Id: topic}, dynamic.WithTopic(topic)); err != nil {
		return err
	}
	update, open := <-subscription.Channel()
	switch {
	case !open:
		return subscription.Err()
	case update.GetId() != topic:
		return fmt.Errorf("got the update of %q", update.GetId())
	}
	return nil
}
