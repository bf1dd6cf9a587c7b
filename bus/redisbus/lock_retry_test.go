package redisbus_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// lockKey returns the key of the lock for a frame of a queue.
func lockKey(frame string) string {
	hash := sha256.Sum256([]byte(frame))
	return base64.StdEncoding.EncodeToString(hash[:])
}

// cluster starts a Redis Cluster. It returns a client, the addresses of the nodes, and a function
// that sends a CLUSTER command to one node.
func cluster(t *testing.T) (*redis.ClusterClient, []string, func(address string, command ...any) string) {
	t.Helper()
	addresses := testenv.RedisCluster(t).Addrs()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client, addresses, func(address string, command ...any) string {
		node := redis.NewClient(&redis.Options{Addr: address})
		defer node.Close()
		answer, err := node.Do(t.Context(), append([]any{"cluster"}, command...)...).Text()
		require.NoError(t, err)
		return answer
	}
}

// The slot of a lock migrates to another node, or is temporarily served by no node. No frame of the
// queue may be lost.
func TestBus_LocksWhileClusterChanges(t *testing.T) {
	t.Parallel()
	const frames = 30
	client, addresses, ask := cluster(t)
	for name, opts := range map[string][]redisbus.Option{"plain": nil, "sharded": {redisbus.WithShardedPubSub()}} {
		b, err := redisbus.New(client, append(opts, make(events, 100).handler(), redisbus.WithLockRetryTimeout(waitTimeout))...)
		require.NoError(t, err)
		channel := bus.Channel{Name: "queue" + name}
		got := listen(t, b, channel, bus.Queue)
		owner := func(key string) (slot int64, source, target string) {
			slot, err := client.ClusterKeySlot(t.Context(), key).Result()
			require.NoError(t, err)
			node, err := client.MasterForKey(t.Context(), key)
			require.NoError(t, err)
			source, target = node.Options().Addr, addresses[0]
			if target == source {
				target = addresses[1]
			}
			return slot, source, target
		}
		for i := range frames { // Redis replies to SET with the error ASK
			frame := name + strconv.Itoa(i)
			slot, source, target := owner(lockKey(frame))
			ask(target, "setslot", slot, "importing", ask(source, "myid"))
			ask(source, "setslot", slot, "migrating", ask(target, "myid"))
			requireArrives(t, b, channel, got, frame)
			ask(target, "setslot", slot, "stable")
			ask(source, "setslot", slot, "stable")
		}
		frame := name + "unserved"
		slot, source, _ := owner(lockKey(frame))
		ask(source, "delslots", slot) // Redis replies to SET with the error CLUSTERDOWN
		require.NoError(t, b.Publish(t.Context(), channel, []byte(frame), nil))
		require.NoError(t, b.Publish(t.Context(), channel, []byte(frame+" is read, but not delivered yet"), nil))
		<-got
		ask(source, "addslots", slot)
		assert.Equal(t, frame, <-got)
		assert.Zero(t, b.Stats().Dropped)
		require.NoError(t, b.Close())
	}
}

// A client for a single server must work on a node of a Redis Cluster, although most locks belong
// to other nodes.
func TestBus_SingleClientOnClusterNode(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: testenv.RedisCluster(t).Addrs()[0]})
	defer client.Close()
	b, err := redisbus.New(client)
	require.NoError(t, err)
	defer b.Close()
	channel := bus.Channel{Name: "queue"}
	got := listen(t, b, channel, bus.Queue)
	for i := range 30 {
		requireArrives(t, b, channel, got, strconv.Itoa(i))
	}
}

// If Redis rejects the lock of a frame, the frame is lost. The bus must count the loss by reason.
// The number of events per second is limited, so only the first loss causes an event. The event
// must contain Redis's error.
func TestBus_LocksRefused(t *testing.T) {
	t.Parallel()
	for code, refuse := range map[string][]any{
		"OOM":    {"config", "set", "maxmemory", "1"},
		"NOPERM": {"acl", "setuser", "rpc", "resetkeys"},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			server := testenv.Redis(t, "--user", "rpc", "on", "nopass", "~*", "&*", "+@all")
			admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
			defer admin.Close()
			require.NoError(t, admin.Do(t.Context(), refuse...).Err())
			client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "rpc", Password: "x"})
			defer client.Close()
			busEvents := make(events, 10)
			b, err := redisbus.New(client, busEvents.handler())
			require.NoError(t, err)
			defer b.Close()
			channel := bus.Channel{Name: "queue"}
			listen(t, b, channel, bus.Queue)
			for i := range 3 {
				require.NoError(t, b.Publish(t.Context(), channel, fmt.Append(nil, i), nil))
			}
			event := busEvents.next(t, bus.Dropped)
			assert.Equal(t, "queue", event.Channel)
			require.ErrorContains(t, event.Err, code+" ")
			require.Eventually(t, func() bool { return b.Stats().DroppedBy[code] == 3 }, waitTimeout, waitTimeout/1000)
			assert.EqualValues(t, 3, b.Stats().Dropped)
			assert.Empty(t, busEvents)
		})
	}
}

// Redis can reject a lock with many different errors. The bus must report each of them in an event.
// If the error is temporary, the bus must try again and take the lock when Redis permits it.
func TestBus_LocksRefusedByAnyError(t *testing.T) {
	t.Parallel()
	for code, passes := range map[string]bool{
		"TRYAGAIN": true, "CLUSTERDOWN": true, "MASTERDOWN": true, "READONLY": true, "LOADING": false,
		"OOM": false, "NOPERM": false, "MISCONF": false, "NOREPLICAS": false, "ERR": false,
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			var refusals atomic.Int64 // the number of locks that the server still rejects
			_, client := newFakeRedis(t, func(w *bufio.Writer, command []string) bool {
				if command[0] != "set" || refusals.Add(-1) < 0 {
					return false
				}
				fmt.Fprintf(w, "-%s no lock now\r\n", code)
				return true
			})
			busEvents := make(events, 10)
			b, err := redisbus.New(client, busEvents.handler(), redisbus.WithLockRetryTimeout(5*time.Second))
			require.NoError(t, err)
			defer b.Close()
			channel := bus.Channel{Name: "queue"}
			got := listen(t, b, channel, bus.Queue)
			if passes {
				refusals.Store(1)
				require.NoError(t, b.Publish(t.Context(), channel, []byte("late"), nil))
				assert.Equal(t, "late", <-got)
				assert.Zero(t, b.Stats().Dropped)
			}
			if code == "READONLY" {
				return // in this case, the bus reconnects; another test checks this
			}
			refusals.Store(math.MaxInt64)
			require.NoError(t, b.Publish(t.Context(), channel, []byte("lost"), nil))
			require.ErrorContains(t, busEvents.next(t, bus.Dropped).Err, code+" no lock now")
			assert.Equal(t, map[string]uint64{code: 1}, b.Stats().DroppedBy)
		})
	}
}

// A server that becomes a replica rejects locks. The bus must then reconnect, because after a
// failover the client connects to the new master.
func TestBus_ServerBecomesReplica(t *testing.T) {
	t.Parallel()
	demoted, master := testenv.Redis(t), testenv.Redis(t)
	var current atomic.Value // the address of the current master
	current.Store(demoted.Addr())
	client := redis.NewClient(&redis.Options{Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, current.Load().(string))
	}})
	defer client.Close()
	busEvents := make(events, 10)
	b, err := redisbus.New(client, busEvents.handler(), redisbus.WithLockRetryTimeout(waitTimeout))
	require.NoError(t, err)
	defer b.Close()
	channel := bus.Channel{Name: "queue"}
	got := listen(t, b, channel, bus.Queue)
	requireArrives(t, b, channel, got, "before")

	admin := redis.NewClient(&redis.Options{Addr: demoted.Addr()})
	defer admin.Close()
	current.Store(master.Addr())
	require.NoError(t, admin.ReplicaOf(t.Context(), "127.0.0.1", "1").Err())
	requireArrives(t, b, channel, got, "in between")
	busEvents.next(t, bus.Disconnected)
	busEvents.next(t, bus.Reconnected)
	requireArrives(t, b, channel, got, "after")
	assert.Zero(t, b.Stats().Dropped)
}

// The connection for locks must be opened when a queue subscription is opened, so that the first
// call does not have to wait for it.
func TestBus_OpensLockConnectionsOnSubscribe(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	b := connect(t, server)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr(), PoolSize: 1})
	defer admin.Close()
	connections := func() int {
		list, err := admin.ClientList(t.Context()).Result()
		require.NoError(t, err)
		return strings.Count(list, "\n")
	}
	before := connections()
	listen(t, b, bus.Channel{Name: "plain"}, bus.Broadcast)
	assert.Equal(t, before, connections())
	listen(t, b, bus.Channel{Name: "queue"}, bus.Queue)
	assert.Equal(t, before+1, connections())
}
