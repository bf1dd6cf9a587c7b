package chaos

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// pausable is a broker process that can be stopped and continued.
type pausable interface {
	Pause()
	Resume()
}

// onPausable runs test with each broker. The function connect returns a bus that keeps its
// connections while the broker is paused.
func onPausable(t *testing.T, test func(t *testing.T, broker pausable, connect func() bus.Bus)) {
	t.Helper()
	t.Run(testkit.RedisName, func(t *testing.T) {
		t.Parallel()
		server := testenv.Redis(t)
		test(t, server, func() bus.Bus { return testkit.Redis(t, server.Addr(), redisbus.WithProbeInterval(longProbe)) })
	})
	t.Run(testkit.NATSName, func(t *testing.T) {
		t.Parallel()
		server := testenv.NATSProcess(t)
		test(t, server, func() bus.Bus { return testkit.NATS(t, server.URL(), natsbus.WithProbeInterval(longProbe)) })
	})
}

// requireInTime calls the function end with a context that expires after 300 ms. By then, end must
// not have finished its work. requireInTime checks that end returns soon after the context has
// expired, with the error of the context.
func requireInTime(t *testing.T, name string, end func(ctx context.Context) error) {
	t.Helper()
	const limit = 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	err := end(ctx)
	took := time.Since(start)
	t.Logf("%s took %v: %v", name, took.Round(time.Millisecond), err)
	assert.Less(t, took, limit+slack, name)
	assert.ErrorIs(t, err, context.DeadlineExceeded, name)
}

// While the broker is paused, Close and Shutdown must return soon after their context has expired.
// When the broker continues, a second call to each of them must succeed.
func TestPausedBroker_CloseIsBounded(t *testing.T) {
	t.Parallel()
	onPausable(t, func(t *testing.T, broker pausable, connect func() bus.Bus) {
		done := newLedger()
		server, registration := serveAll(t, connect(), "server", done)
		for i := range 300 {
			require.NoError(t, registration.RegisterTopic("MoveRegion", fmt.Sprint(i)))
		}
		const clientTimeout = 5 * time.Second
		conn := testkit.Conn(t, connect(), dynamic.WithClientTimeout(clientTimeout))
		subscription, err := testkit.Subscriber(t, conn, "ProcessUpdate").Subscribe(t.Context())
		require.NoError(t, err)
		var streams []dynamic.ClientStream[*api.MyClientMessage, *api.MyServerMessage]
		for range 10 {
			stream, err := testkit.Streamer(t, conn).OpenStream(t.Context())
			require.NoError(t, err)
			streams = append(streams, stream)
		}
		broker.Pause()
		var ending sync.WaitGroup
		ending.Go(func() {
			requireInTime(t, "Registration.Close", registration.Close)
			requireInTime(t, "Server.Shutdown", server.Shutdown)
		})
		// The following methods do not take a context. They return after the client timeout at the
		// latest.
		const limit = clientTimeout + slack
		for name, end := range map[string]func() error{
			"Subscription.Close": subscription.Close,
			"ClientStream.Close": func() error { return streams[0].Close(nil) },
		} {
			ending.Go(func() {
				start := time.Now()
				err := end()
				t.Logf("%s took %v: %v", name, time.Since(start).Round(time.Millisecond), err)
				assert.Less(t, time.Since(start), limit, name)
			})
		}
		ending.Wait()
		start := time.Now()
		err = conn.Close()
		t.Logf("Conn.Close took %v: %v", time.Since(start).Round(time.Millisecond), err)
		assert.Less(t, time.Since(start), limit)
		broker.Resume()
		require.NoError(t, server.Shutdown(t.Context()))
		testkit.Eventually(t, func() bool { return conn.Close() == nil }, "the conn closes")
		require.NoError(t, subscription.Close())
	})
}

// Closing a registration with many topics takes some time. Close must return soon after its context
// has expired, with the error of the context. A second call must finish the work.
func TestManyTopics_CloseIsBounded(t *testing.T) {
	t.Parallel()
	testkit.OnBrokers(t, func(t *testing.T, network testkit.Network) {
		_, registration := serveAll(t, network.Connect(t), "server", newLedger())
		topics := scaled(2000)
		next := make(chan int)
		var registering sync.WaitGroup
		for range 64 {
			registering.Go(func() {
				for i := range next {
					assert.NoError(t, registration.RegisterTopic("MoveRegion", fmt.Sprint(i)))
				}
			})
		}
		for i := range topics {
			next <- i
		}
		close(next)
		registering.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start := time.Now()
		// Close waits for the subscriptions a moment longer than its context permits. On a fast
		// machine, they all end in this time.
		if err := registration.Close(ctx); err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		t.Logf("Close with %d topics and 1 ms took %v", topics, time.Since(start))
		require.NoError(t, registration.Close(t.Context()))
		t.Logf("the rest took %v", time.Since(start))
	})
}
