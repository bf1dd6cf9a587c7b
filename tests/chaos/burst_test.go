package chaos

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// burstPatience is the timeout for receiving a burst of updates. It is long because the machine may
// be busy.
const burstPatience = 5 * testkit.Patience

// A publisher sends updates as fast as it can. A subscriber that reads all the time must receive
// all of them in order. The test does not run in parallel with others, because on a busy machine
// updates could be lost.
func TestBurst_NothingIsLost(t *testing.T) {
	updates := int64(scaled(40_000))
	for _, on := range []func(testing.TB) testkit.Network{testkit.OnRedis, testkit.OnNATS} {
		network := on(t)
		t.Run(network.Name, func(t *testing.T) {
			_, publisher := testkit.Serve(t, network.Connect(t), nil)
			listening := network.Connect(t)
			subscription, err := testkit.Subscriber(t, testkit.Conn(t, listening), "UpdateState").
				Subscribe(t.Context(), dynamic.WithBufferSize(int(updates)))
			require.NoError(t, err)
			started := time.Now()
			var publishing sync.WaitGroup
			publishing.Go(func() { // this goroutine ends before the test does
				for i := range updates {
					if err := publisher.Publish(t.Context(), "UpdateState", &api.MyUpdate{State: api.MyUpdate_State(i)}); err != nil {
						assert.NoError(t, err)
						return
					}
				}
			})
			giveUp := time.NewTimer(burstPatience)
			defer giveUp.Stop()
			for i := range updates {
				select {
				case update := <-subscription.Channel():
					if update.GetState() != api.MyUpdate_State(i) {
						require.FailNow(t, "an update was lost", "%d came instead of %d", update.GetState(), i)
					}
				case <-giveUp.C:
					require.FailNow(t, "an update did not come", "number %d: %+v", i, stats(listening))
				}
			}
			t.Logf("%d updates in %v", updates, time.Since(started).Round(time.Millisecond))
			publishing.Wait()
			assert.Zero(t, subscription.Stats().Dropped)
			assert.Zero(t, stats(listening).Dropped)
			assert.Zero(t, stats(listening).Disconnects)
		})
	}
}

func stats(b bus.Bus) bus.Stats {
	if monitored, ok := b.(bus.Monitored); ok {
		return monitored.Stats()
	}
	return bus.Stats{}
}
