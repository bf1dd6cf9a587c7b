//go:build chaos && unix

package long_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// A master of a Redis Cluster is killed and its replica takes over. Calls may fail only until the
// buses have found the new master.
func TestRedisCluster_Failover(t *testing.T) {
	cluster := testenv.RedisClusterWithReplicas(t)
	f := &fleet{
		t: t, name: "redis cluster", url: "redis-cluster://" + strings.Join(cluster.Addrs(), ","), direct: true,
		records: newLedger(), program: program, before: map[*peer]usage{},
	}
	f.begin()
	for i := range 2 {
		f.during(failover, func() {
			cluster.Nodes()[i].Kill()
			awaitMaster(t, cluster.Nodes()[3+i])
		})
		f.during(failover, cluster.Nodes()[i].Start)
	}
	f.end(promises{mayLose: everyUpdate, grows: "the client of Redis keeps a connection per node"})
}

// failover is how long operations may still fail after a replica has taken over.
const failover = 5 * time.Second

// awaitMaster waits until a node of a Redis Cluster has become a master.
func awaitMaster(t *testing.T, node *testenv.RedisServer) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: node.Addr()})
	defer client.Close()
	require.Eventually(t, func() bool {
		role, err := client.Do(t.Context(), "ROLE").Slice()
		return err == nil && role[0] == "master"
	}, patience, 20*time.Millisecond)
}

// The servers of a NATS cluster are killed and restarted one after the other. The clients must
// reconnect to another server.
func TestNATSCluster_RollingRestart(t *testing.T) {
	var routes, addrs []string
	for range 3 {
		routes = append(routes, freeAddr(t))
	}
	var nodes []*testenv.NATSProcessServer
	for _, route := range routes {
		node := testenv.NATSProcess(t, "--cluster_name", "chaos", "--cluster", "nats://"+route,
			"--routes", "nats://"+strings.Join(routes, ",nats://"))
		nodes, addrs = append(nodes, node), append(addrs, node.Addr())
	}
	f := &fleet{
		t: t, name: "nats cluster", url: "nats://" + strings.Join(addrs, ","), direct: true,
		records: newLedger(), program: program, before: map[*peer]usage{},
	}
	f.begin()
	for _, node := range nodes {
		f.during(recovery, node.Kill)
		f.during(recovery, node.Start)
	}
	f.end(promises{mayLose: everyUpdate})
}

// freeAddr returns a loopback address on which no server listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}
