package faults

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/faults/scene"
)

// When the master dies, all goes on over the one that Sentinel makes of its replica.
func TestSentinel_MasterDies(t *testing.T) {
	t.Parallel()
	servers := testenv.RedisSentinel(t)
	connect := func() bus.Bus {
		return scene.RedisOver(t, redis.NewFailoverClient(&redis.FailoverOptions{
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

// When a node of a cluster dies, all goes on over the others, but for a queue's frames whose locks
// would be on it: so does a cluster that serves a part of its keys. When it is back, so are those.
func TestCluster_NodeDies(t *testing.T) {
	t.Parallel()
	cluster := testenv.RedisCluster(t)
	for _, addr := range cluster.Addrs() {
		servePartially(t, addr)
	}
	loads, done := loadsOver(t, func() bus.Bus {
		return scene.RedisOver(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()}))
	})
	requireSuccesses(t, loads, time.Now(), "at first")
	for _, node := range cluster.Nodes() { // the buses may all be on one of them
		node.Kill()
		killed := time.Now()
		requireSuccesses(t, loads, killed, "after a node's death")
		node.Start()
		servePartially(t, node.Addr())
		requireSuccesses(t, loads, time.Now(), "when it was back")
	}
	for _, l := range loads {
		l.requireOutcomes(t, brief, errors.Unavailable, errors.DeadlineExceeded)
	}
	done.requireOnce(t)
}

// servePartially lets a node of a cluster serve its keys while others are away, as long as it runs.
func servePartially(t testing.TB, addr string) {
	t.Helper()
	node := redis.NewClient(&redis.Options{Addr: addr})
	defer node.Close()
	require.NoError(t, node.ConfigSet(t.Context(), "cluster-require-full-coverage", "no").Err())
}

// loadsOver returns loads of all kinds on two servers.
func loadsOver(t testing.TB, connect func() bus.Bus) ([]*load, *ledger) {
	t.Helper()
	done := newLedger()
	_, publisher := serveAll(t, connect(), "first", done)
	serveAll(t, connect(), "second", done)
	return startAllKinds(t, scene.Conn(t, connect()), 2, publisher, done, func() {}), done
}

// requireSuccesses waits until each load has succeeded a few times, and logs how long the first one
// took.
func requireSuccesses(t testing.TB, loads []*load, since time.Time, when string) {
	t.Helper()
	first := nextSuccesses(loads).await(t, since)
	for range 3 {
		nextSuccesses(loads).await(t, since)
	}
	t.Logf("all kinds work %s: %v", when, first)
}
