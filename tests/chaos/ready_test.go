package chaos

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
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

const readyWorkers = 8

// repeat calls a function the given number of times, from several goroutines. It requires that no
// call returns an error.
func repeat(t testing.TB, times int, what func(i int) error) {
	t.Helper()
	started := time.Now()
	var workers sync.WaitGroup
	for first := range readyWorkers {
		workers.Go(func() { // this goroutine ends before repeat returns
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

// A topic that has just been registered must be reachable from another connection immediately.
func TestReady_RegisterAndCall(t *testing.T) {
	t.Parallel()
	testkit.OnBrokers(t, func(t *testing.T, network testkit.Network) {
		_, registration := testkit.Serve(t, network.Connect(t), dynamic.Handlers{"MoveRegion": dynamic.Unary(testkit.Echo)})
		client := testkit.Caller(t, testkit.Conn(t, network.Connect(t)), "MoveRegion")
		repeat(t, scaled(1000), func(i int) error {
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

// A server that has just been started must be reachable from another connection immediately.
func TestReady_NewConnections(t *testing.T) {
	t.Parallel()
	testkit.OnBrokers(t, func(t *testing.T, network testkit.Network) {
		for range scaled(50) {
			t.Run("", func(t *testing.T) {
				testkit.Serve(t, network.Connect(t), dynamic.Handlers{"NormalRPC": dynamic.Unary(testkit.Echo)})
				client := testkit.Caller(t, testkit.Conn(t, network.Connect(t)), "NormalRPC")
				_, err := client.Call(t.Context(), &api.MyRequest{})
				require.NoError(t, err)
			})
		}
	})
}

// A subscription that has just been opened must receive the next update from another connection.
func TestReady_SubscribeAndPublish(t *testing.T) {
	t.Parallel()
	testkit.OnBrokers(t, func(t *testing.T, network testkit.Network) {
		_, publisher := testkit.Serve(t, network.Connect(t), nil)
		client := testkit.Subscriber(t, testkit.Conn(t, network.Connect(t)), "UpdateRegionState")
		repeat(t, scaled(1000), func(i int) error { return subscribeAndPublish(client, publisher, fmt.Sprintf("region-%d", i)) })
	})
}

func subscribeAndPublish(
	client *dynamic.Client[*api.Ignored, *api.MyUpdate], publisher *dynamic.Registration, topic string,
) error {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
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
