package regression

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// unread is the number of updates that are published, and kept is the number of updates that the
// subscription can buffer.
const unread, kept = 1000, 100

// subscribe returns a subscription that is closed when the test ends.
func subscribe(
	t *testing.T, conn *dynamic.Conn, method string, opts ...dynamic.RequestOption,
) dynamic.Subscription[*api.MyUpdate] {
	t.Helper()
	subscription, err := testkit.Subscriber(t, conn, method).Subscribe(t.Context(), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, subscription.Close()) })
	return subscription
}

// subscribeUnread returns a subscription that is never read and whose buffer has already
// overflowed.
func subscribeUnread(t *testing.T, conn *dynamic.Conn, publisher *dynamic.Registration) dynamic.Subscription[*api.MyUpdate] {
	t.Helper()
	subscription := subscribe(t, conn, "UpdateState", dynamic.WithBufferSize(kept))
	for range unread {
		require.NoError(t, publisher.Publish(t.Context(), "UpdateState", &api.MyUpdate{}))
	}
	testkit.Eventually(t, func() bool { return subscription.Stats().Received == unread }, "updates")
	return subscription
}

func TestDefect03_UnreadSubscription(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		fleet := testkit.NewFleet(t, network)
		conn, registration := fleet.Conn, fleet.Registrations[0]
		stuck := subscribeUnread(t, conn, registration)
		assert.InDelta(t, unread-kept, stuck.Stats().Dropped, 1)
		here := dynamic.WithTopic("here")
		other := subscribe(t, conn, "UpdateRegionState", here)
		requireWorking(t, conn)
		require.NoError(t, registration.RegisterTopic("MoveRegion", "here"))
		requireCalls(t, testkit.Caller(t, conn, "MoveRegion").Topic("here"), 1)
		require.NoError(t, registration.Publish(t.Context(), "UpdateRegionState", &api.MyUpdate{Id: "other"}, here))
		assert.Equal(t, "other", testkit.Soon(t, other.Channel(), "update").GetId())
	})
}

// This test does not run in parallel with others, because it counts goroutines.
func TestDefect16_NothingIsLeft(t *testing.T) {
	for _, on := range []func(testing.TB) testkit.Network{testkit.OnLocal, testkit.OnRedis, testkit.OnNATS} {
		network := on(t)
		t.Run(network.Name, func(t *testing.T) {
			publishing := network.Connect(t)
			_, publisher := testkit.Serve(t, publishing, nil)
			before := goleak.IgnoreCurrent()
			// When this subtest ends, its buses are closed too, except on an in-process network.
			t.Run("50 unread", func(t *testing.T) {
				conn := testkit.Conn(t, network.Connect(t))
				for range 50 {
					subscribe(t, conn, "UpdateState")
				}
				for range unread {
					require.NoError(t, publisher.Publish(t.Context(), "UpdateState", &api.MyUpdate{}))
				}
			})
			goleak.VerifyNone(t, before)
		})
	}
}

func TestDefect26_SiblingsOfUnreadSubscription(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		fleet := testkit.NewFleet(t, network)
		conn, registration := fleet.Conn, fleet.Registrations[0]
		sibling := subscribe(t, conn, "UpdateState")
		stuck := subscribeUnread(t, conn, registration)
		require.NoError(t, sibling.Close())
		second := subscribe(t, conn, "UpdateState")
		require.NoError(t, registration.Publish(t.Context(), "UpdateState", &api.MyUpdate{Id: "second"}))
		assert.Equal(t, "second", testkit.Soon(t, second.Channel(), "update").GetId())
		require.NoError(t, stuck.Close())
		require.NoError(t, second.Close())
		requireWorking(t, conn)
	})
}
