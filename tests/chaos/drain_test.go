package chaos

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// While updates are published to a queue, its subscriptions are replaced one after the other, with
// Drain. No update may be lost, and none may arrive twice.
func TestDrain_LosesNothing(t *testing.T) {
	t.Parallel()
	const replacements, perReplacement, window = 10, 200, 100
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		_, publisher := testkit.Serve(t, network.Connect(t), dynamic.Handlers{"NormalRPC": dynamic.Unary(testkit.Echo)})
		delivered := newLedger()
		room := make(chan struct{}, window) // limits the number of updates that have not arrived yet
		var consumers sync.WaitGroup
		subscribe := func() dynamic.Subscription[*api.MyUpdate] {
			subscription, err := testkit.Subscriber(t, testkit.Conn(t, network.Connect(t)), "ProcessUpdate").Subscribe(t.Context())
			require.NoError(t, err)
			consumers.Go(func() { // this goroutine ends when the subscription does
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
		publishing.Go(func() { // this goroutine ends when stop is closed
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
			testkit.Eventually(t, func() bool { return published.Load() >= from+perReplacement }, "updates "+strconv.Itoa(i))
			fleet = append(fleet, subscribe())
			require.NoError(t, fleet[0].Drain(t.Context()))
			fleet = fleet[1:]
		}
		close(stop)
		publishing.Wait()
		testkit.Eventually(t, func() bool { return delivered.len() >= int(published.Load()) }, "the last updates")
		for _, consumer := range fleet {
			require.NoError(t, consumer.Drain(t.Context()))
		}
		consumers.Wait()
		t.Logf("%d updates", published.Load())
		assert.EqualValues(t, published.Load(), delivered.len(), "lost")
		delivered.requireOnce(t)
	})
}
