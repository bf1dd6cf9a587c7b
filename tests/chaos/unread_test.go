package chaos

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// A subscriber that never reads must lose only its own updates, and these must be counted. All
// other subscribers and callers on the same bus must not be affected.
func TestUnread_HoldsUpNobody(t *testing.T) {
	t.Parallel()
	const updates, kept = 1000, 100
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		_, publisher := testkit.Serve(t, network.Connect(t), dynamic.Handlers{"NormalRPC": dynamic.Unary(testkit.Echo)})
		conn := testkit.Conn(t, network.Connect(t))
		subscribe := func(method string, opts ...dynamic.RequestOption) dynamic.Subscription[*api.MyUpdate] {
			subscription, err := testkit.Subscriber(t, conn, method).Subscribe(t.Context(), opts...)
			require.NoError(t, err)
			return subscription
		}
		unread := subscribe("UpdateState", dynamic.WithBufferSize(kept))
		sameMethod := subscribe("UpdateState", dynamic.WithBufferSize(updates))
		here := dynamic.WithTopic("here")
		otherMethod := subscribe("UpdateRegionState", here, dynamic.WithBufferSize(updates))
		for range updates {
			require.NoError(t, publisher.Publish(t.Context(), "UpdateState", &api.MyUpdate{}))
			require.NoError(t, publisher.Publish(t.Context(), "UpdateRegionState", &api.MyUpdate{}, here))
		}
		_, err := testkit.Caller(t, conn, "NormalRPC").Call(t.Context(), &api.MyRequest{})
		require.NoError(t, err)
		for range updates {
			testkit.Soon(t, sameMethod.Channel(), "update of the same method")
			testkit.Soon(t, otherMethod.Channel(), "update of another method")
		}
		testkit.Eventually(t, func() bool { return unread.Stats().Received == updates }, "the subscriber that never reads")
		assert.InDelta(t, updates-kept, unread.Stats().Dropped, 1)
		assert.Zero(t, sameMethod.Stats().Dropped)
		assert.Zero(t, otherMethod.Stats().Dropped)
	})
}

// BenchmarkUnread measures the latency of calls while updates are published to a subscriber on the
// same bus. It compares a subscriber that reads with one that never reads.
func BenchmarkUnread(b *testing.B) {
	for _, on := range []func(testing.TB) testkit.Network{testkit.OnLocal, testkit.OnRedis, testkit.OnNATS} {
		network := on(b)
		b.Run(network.Name, func(b *testing.B) { benchmarkUnread(b, network) })
	}
}

func benchmarkUnread(b *testing.B, network testkit.Network) {
	const rounds = 5 // measure alternately, because the load of the machine may change
	_, publisher := testkit.Serve(b, network.Connect(b), dynamic.Handlers{"NormalRPC": dynamic.Unary(testkit.Echo)})
	conn := testkit.Conn(b, network.Connect(b))
	caller, subscriber := testkit.Caller(b, conn, "NormalRPC"), testkit.Subscriber(b, conn, "UpdateState")
	var read, unread measure
	for range rounds {
		subscription, err := subscriber.Subscribe(b.Context())
		require.NoError(b, err)
		unread = append(unread, p99BesideUpdates(b, caller, publisher))
		var reader sync.WaitGroup
		reader.Go(func() { // this goroutine ends when the subscription does
			for range subscription.Channel() {
			}
		})
		read = append(read, p99BesideUpdates(b, caller, publisher))
		require.NoError(b, subscription.Close())
		reader.Wait()
	}
	b.ReportMetric(0, "ns/op") // hide the mean of all calls, because it mixes both measurements
	b.ReportMetric(float64(read.median()), "p99-read-ns")
	b.ReportMetric(float64(unread.median()), "p99-unread-ns")
	b.ReportMetric(float64(unread.median())/float64(read.median()), "ratio")
}

// p99BesideUpdates returns the 99th percentile of the latency of calls while thousands of updates
// per second are published.
func p99BesideUpdates(
	b *testing.B, caller *dynamic.Client[*api.MyRequest, *api.MyResponse], publisher *dynamic.Registration,
) time.Duration {
	b.Helper()
	ctx, end := context.WithCancel(b.Context())
	var updates sync.WaitGroup
	updates.Go(func() { // this goroutine ends when ctx is canceled
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			<-ticker.C
			for range 10 {
				// Ignore the error, because Publish fails when ctx is canceled.
				_ = publisher.Publish(ctx, "UpdateState", &api.MyUpdate{})
			}
		}
	})
	var taken measure
	for range 500 {
		started := time.Now()
		_, err := caller.Call(ctx, &api.MyRequest{})
		require.NoError(b, err)
		taken = append(taken, time.Since(started))
	}
	end()
	updates.Wait()
	return slices.Sorted(slices.Values(taken))[len(taken)*99/100]
}
