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

// newCluster returns the URLs of two servers of one cluster.
func newCluster(t *testing.T) (first, second string) {
	t.Helper()
	run := func(name string, routes ...*url.URL) *server.Server {
		return testenv.NATS(t, func(o *server.Options) {
			o.ServerName, o.Routes = name, routes
			o.Cluster = server.ClusterOpts{Name: "cluster", Host: "127.0.0.1", Port: -1}
		}).Server()
	}
	a := run("a")
	route, err := url.Parse("nats://" + a.ClusterAddr().String())
	require.NoError(t, err)
	b := run("b", route)
	require.Eventually(t, func() bool { return a.NumRoutes() > 0 && a.NumRoutes() == b.NumRoutes() }, testTimeout, testTimeout/1000)
	return a.ClientURL(), b.ClientURL()
}

// A frame with a report that is published right after a Subscribe on another server arrives, once.
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

// If a frame still has no receivers after it has been repeated, the report says so.
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
