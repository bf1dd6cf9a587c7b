package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// When the Redis master is killed, Sentinel promotes its replica. All operations must then succeed
// with the new master.
func TestSentinel_MasterDies(t *testing.T) {
	t.Parallel()
	servers := testenv.RedisSentinel(t)
	connect := func() bus.Bus {
		return testkit.RedisOver(t, redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: servers.MasterName(), SentinelAddrs: []string{servers.SentinelAddr()},
		}))
	}
	loads, done := loadsOver(t, connect)
	requireSuccesses(t, loads, time.Now(), "at first")
	failing := nextFailures(loads)
	servers.Master().Kill()
	killed := time.Now()
	failing.await(t, killed)
	requireSuccesses(t, loads, killed, "after the master's death")
	for _, l := range loads {
		l.requireOutcomes(t, brief, errors.Unavailable, errors.DeadlineExceeded)
	}
	done.requireOnce(t)
}

// When a node of a Redis Cluster is killed, operations of all kinds must still succeed through the
// other nodes. Only some requests and updates for queues may fail: those whose lock is stored on
// the killed node.
func TestCluster_NodeDies(t *testing.T) {
	t.Parallel()
	cluster := testenv.RedisCluster(t)
	for _, addr := range cluster.Addrs() {
		serveWithFailures(t, addr)
	}
	loads, done := loadsOver(t, func() bus.Bus {
		return testkit.RedisOver(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()}))
	})
	requireSuccesses(t, loads, time.Now(), "at first")
	// Kill each node once, because all buses may use the same node.
	for i, node := range cluster.Nodes() {
		node.Kill()
		killed := time.Now()
		requireSuccesses(t, loads, killed, "after a node's death")
		other := cluster.Addrs()[(i+1)%len(cluster.Addrs())]
		awaitFailedSlots(t, other, true)
		requireSuccesses(t, loads, time.Now(), "after the cluster has marked the node as failed")
		node.Start()
		serveWithFailures(t, node.Addr())
		awaitFailedSlots(t, other, false)
		requireSuccesses(t, loads, time.Now(), "when it was back")
	}
	for _, l := range loads {
		l.requireOutcomes(t, brief, errors.Unavailable, errors.DeadlineExceeded)
	}
	done.requireOnce(t)
}

// serveWithFailures configures a node of a Redis Cluster to serve its keys even if other nodes are
// down, and to mark another node as failed after a second. The settings are lost when the node is
// restarted.
func serveWithFailures(t testing.TB, addr string) {
	t.Helper()
	node := redis.NewClient(&redis.Options{Addr: addr})
	defer node.Close()
	require.NoError(t, node.ConfigSet(t.Context(), "cluster-require-full-coverage", "no").Err())
	require.NoError(t, node.ConfigSet(t.Context(), "cluster-node-timeout", "1000").Err())
}

// awaitFailedSlots waits until the node at addr reports that slots of the cluster belong to a
// failed node, or that none do.
func awaitFailedSlots(t testing.TB, addr string, failed bool) {
	t.Helper()
	node := redis.NewClient(&redis.Options{Addr: addr})
	defer node.Close()
	testkit.Eventually(t, func() bool {
		info, err := node.ClusterInfo(t.Context()).Result()
		return err == nil && strings.Contains(info, "cluster_slots_fail:0\r\n") != failed
	}, fmt.Sprintf("%s reports failed slots: %v", addr, failed))
}

// loadsOver starts two servers, and operations of all kinds that use them.
func loadsOver(t testing.TB, connect func() bus.Bus) ([]*load, *ledger) {
	t.Helper()
	done := newLedger()
	_, publisher := serveAll(t, connect(), "first", done)
	serveAll(t, connect(), "second", done)
	return startAllKinds(t, testkit.Conn(t, connect()), 2, publisher, done, func() {}), done
}

// requireSuccesses waits until operations of each kind have succeeded several times. It logs how
// long the first success took.
func requireSuccesses(t testing.TB, loads []*load, since time.Time, when string) {
	t.Helper()
	first := nextSuccesses(loads).await(t, since)
	for range 3 {
		nextSuccesses(loads).await(t, since)
	}
	t.Logf("all kinds work %s: %v", when, first)
}
