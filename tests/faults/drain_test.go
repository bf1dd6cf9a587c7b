package faults

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/faults/scene"
)

// Consumers of a queue are replaced by Drain under load, one after the other: no update is lost,
// and none arrives twice.
func TestDrain_LosesNothing(t *testing.T) {
	t.Parallel()
	const replacements, perReplacement, window = 10, 200, 100
	scene.OnEach(t, func(t *testing.T, network scene.Network) {
		_, publisher := scene.Serve(t, network.Connect(t), dynamic.Handlers{"NormalRPC": dynamic.Unary(scene.Echo)})
		delivered := newLedger()
		room := make(chan struct{}, window) // limits the updates on their way
		var consumers sync.WaitGroup
		subscribe := func() dynamic.Subscription[*api.MyUpdate] {
			subscription, err := scene.Subscriber(t, scene.Conn(t, network.Connect(t)), "ProcessUpdate").Subscribe(t.Context())
			require.NoError(t, err)
			consumers.Go(func() { // ends when the channel is closed
				for update := range subscription.Channel() {
					delivered.note("consumers", update.GetId())
					<-room
				}
			})
			return subscription
		}
		fleet := []dynamic.Subscription[*api.MyUpdate]{subscribe(), subscribe()}
		var published atomic.Int64
		stop := make(chan struct{})
		var publishing sync.WaitGroup
		publishing.Go(func() { // ends with the replacements
			for {
				select {
				case <-stop:
					return
				case room <- struct{}{}:
				}
				assert.NoError(t, publisher.Publish(t.Context(), "ProcessUpdate", &api.MyUpdate{Id: strconv.FormatInt(published.Load(), 10)}))
				published.Add(1)
			}
		})
		for i := range scaled(replacements) + 1 {
			from := published.Load()
			scene.Eventually(t, func() bool { return published.Load() >= from+perReplacement }, "updates "+strconv.Itoa(i))
			fleet = append(fleet, subscribe())
			require.NoError(t, fleet[0].Drain(t.Context()))
			fleet = fleet[1:]
		}
		close(stop)
		publishing.Wait()
		scene.Eventually(t, func() bool { return delivered.len() >= int(published.Load()) }, "the last updates")
		for _, consumer := range fleet {
			require.NoError(t, consumer.Drain(t.Context()))
		}
		consumers.Wait()
		t.Logf("%d updates", published.Load())
		assert.EqualValues(t, published.Load(), delivered.len(), "lost")
		delivered.requireOnce(t)
	})
}
