package natsbus_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// newCluster starts a NATS cluster and returns the URLs of its two servers. Each configure function
// may modify the options of both.
func newCluster(t *testing.T, configure ...func(*server.Options)) (first, second string) {
	t.Helper()
	run := func(name string, routes ...*url.URL) *server.Server {
		return testenv.NATS(t, append(configure, func(o *server.Options) {
			o.ServerName, o.Routes = name, routes
			o.Cluster = server.ClusterOpts{Name: "cluster", Host: "127.0.0.1", Port: -1}
		})...).Server()
	}
	a := run("a")
	route, err := url.Parse("nats://" + a.ClusterAddr().String())
	require.NoError(t, err)
	b := run("b", route)
	require.Eventually(t, func() bool { return a.NumRoutes() > 0 && a.NumRoutes() == b.NumRoutes() }, testTimeout, testTimeout/1000)
	return a.ClientURL(), b.ClientURL()
}

// As soon as Subscribe has returned, a frame published through another server of the cluster must
// arrive. The bus repeats a frame that had no receivers, but the frame must arrive only once.
func TestBus_ClusterReadyOnReturn(t *testing.T) {
	t.Parallel()
	first, second := newCluster(t)
	b, sender := newBus(t, first), newBus(t, second)
	const rounds = 300
	received := make(chan int, 10*rounds)
	for i := range rounds {
		channel := bus.Channel{Subject: fmt.Sprint("SRV.Svc.topic", i), Key: requests.Key}
		s, err := b.Subscribe(t.Context(), channel, bus.Mode(i%2), func([]byte) { received <- i })
		require.NoError(t, err)
		require.NoError(t, sender.Publish(t.Context(), channel, envelope(t, "x", ""), newReports()))
		require.Equal(t, i, soon(t, received, "frame"))
		s.Close()
	}
	assert.Empty(t, received, "no frame arrives twice")
}

// The bus repeats a frame that had no receivers, because another server of the cluster may not know
// the newest subscriptions yet. If there are still no receivers, the delivery report must say so,
// and only once.
func TestBus_ClusterWithoutReceivers(t *testing.T) {
	t.Parallel()
	first, _ := newCluster(t)
	b := newBus(t, first)
	for _, size := range []int{0, 1000, 100_000} {
		nobody := newReports()
		require.NoError(t, b.Publish(t.Context(), results, make([]byte, size), nobody))
		assert.Equal(t, published{0, nil}, soon(t, nobody, "report"))
		assert.Empty(t, nobody)
	}
}
