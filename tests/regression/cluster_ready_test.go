package regression

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// A call that is made right after Register, from any node of a cluster of brokers, must reach the
// server. Brokers confirm a subscription before the other nodes know about it.
func TestDefect08_CallAfterRegisterInCluster(t *testing.T) {
	t.Parallel()
	t.Run("NATS", func(t *testing.T) {
		t.Parallel()
		testReadyInCluster(t, natsCluster(t, 3), 34)
	})
	for name, parameters := range map[string]string{"Redis": "", "RedisSharded": "?sharded=true"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var urls []string
			for _, addr := range testenv.RedisCluster(t).Addrs() {
				urls = append(urls, "redis-cluster://"+addr+parameters)
			}
			testReadyInCluster(t, urls, 10) // a call between two nodes can take 45 ms
		})
	}
}

// natsCluster starts a NATS cluster and returns the URLs of its servers.
func natsCluster(t *testing.T, size int) (urls []string) {
	t.Helper()
	var servers []*server.Server
	var routes []*url.URL
	for i := range size {
		s := testenv.NATS(t, func(o *server.Options) {
			o.ServerName, o.Routes = fmt.Sprint("node", i), routes
			o.Cluster = server.ClusterOpts{Name: "cluster", Host: "127.0.0.1", Port: -1}
		}).Server()
		route, err := url.Parse("nats://" + s.ClusterAddr().String())
		require.NoError(t, err)
		servers, routes, urls = append(servers, s), append(routes, route), append(urls, s.ClientURL())
	}
	testkit.Eventually(t, func() bool {
		for _, s := range servers {
			if s.NumRoutes() != servers[0].NumRoutes() || s.NumRoutes() < size-1 {
				return false
			}
		}
		return true
	}, "routes between the servers")
	return urls
}

// testReadyInCluster makes calls from every node of a cluster right after Register and
// RegisterTopic have returned. The nodes have the given URLs.
func testReadyInCluster(t *testing.T, urls []string, rounds int) {
	t.Helper()
	connect := func(node int) bus.Bus {
		b, err := bus.Open(t.Context(), urls[node%len(urls)])
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b
	}
	var servers []bus.Bus
	var conns []*dynamic.Conn
	for node := range urls {
		servers, conns = append(servers, connect(node)), append(conns, testkit.Conn(t, connect(node)))
		// This subscription is another member of the NATS queue group. It does not serve the calls below.
		_, err := testkit.Subscriber(t, testkit.Conn(t, connect(node)), "ProcessUpdate").Subscribe(t.Context())
		require.NoError(t, err)
	}
	for i := range rounds {
		server, registration := testkit.Serve(t, servers[i%len(servers)], dynamic.Handlers{
			"NormalRPC": dynamic.Unary(testkit.Echo), "IntensiveRPC": dynamic.Unary(testkit.Echo), "MoveRegion": dynamic.Unary(testkit.Echo),
		})
		for _, conn := range conns {
			requireCalls(t, testkit.Caller(t, conn, "NormalRPC"), 1)
			requireCalls(t, testkit.Caller(t, conn, "IntensiveRPC"), 1)
		}
		topic := fmt.Sprint("topic", i)
		require.NoError(t, registration.RegisterTopic("MoveRegion", topic))
		for j := range conns {
			requireCalls(t, testkit.Caller(t, conns[(i+j)%len(conns)], "MoveRegion").Topic(topic), 1)
		}
		require.NoError(t, server.Shutdown(t.Context()))
	}
}
