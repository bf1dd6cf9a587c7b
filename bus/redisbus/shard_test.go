package redisbus_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// When the slot of a channel moves to another node, the subscription must move to that node too.
func TestBus_ShardMoves(t *testing.T) {
	t.Parallel()
	addresses := testenv.RedisCluster(t).Addrs()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses})
	defer client.Close()
	b, err := redisbus.New(client, redisbus.WithShardedPubSub(), redisbus.WithEventHandler(func(bus.Event) {}))
	require.NoError(t, err)
	defer b.Close()
	staying, moving := bus.Channel{Name: "staying"}, bus.Channel{Name: "moving"}
	fromStaying, fromMoving := listen(t, b, staying, bus.Broadcast), listen(t, b, moving, bus.Queue)
	requireArrives(t, b, staying, fromStaying, "before")
	requireArrives(t, b, moving, fromMoving, "before")

	moveSlot(t, client, addresses, moving.Name)

	requireEventuallyArrives(t, b, moving, fromMoving)
	requireEventuallyArrives(t, b, staying, fromStaying)
}

// requireEventuallyArrives publishes frames until one of them arrives.
func requireEventuallyArrives(t *testing.T, b *redisbus.Bus, channel bus.Channel, to <-chan string) {
	t.Helper()
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	timeout := time.After(waitTimeout)
	for {
		// Ignore the error, because Publish fails until the bus has found the new node.
		_ = b.Publish(t.Context(), channel, []byte(time.Now().String()), nil)
		select {
		case <-to:
			return
		case <-retry.C:
		case <-timeout:
			require.FailNow(t, "no frame arrives on channel "+channel.Name)
		}
	}
}

// moveSlot moves the slot of a key to another node, with the same commands as redis-cli.
func moveSlot(t *testing.T, client *redis.ClusterClient, addresses []string, key string) {
	t.Helper()
	slot, err := client.ClusterKeySlot(t.Context(), key).Result()
	require.NoError(t, err)
	owner, err := client.MasterForKey(t.Context(), key)
	require.NoError(t, err)
	source := owner.Options().Addr
	target := addresses[0]
	if target == source {
		target = addresses[1]
	}
	ask := func(address string, command ...any) string {
		node := redis.NewClient(&redis.Options{Addr: address})
		defer node.Close()
		answer, err := node.Do(t.Context(), append([]any{"cluster"}, command...)...).Text()
		require.NoError(t, err)
		return answer
	}
	sourceID, targetID := ask(source, "myid"), ask(target, "myid")
	// The importing node announces its ownership with a new configuration epoch.
	ask(target, "setslot", slot, "importing", sourceID)
	ask(source, "setslot", slot, "migrating", targetID)
	ask(target, "setslot", slot, "node", targetID)
	ask(source, "setslot", slot, "node", targetID)
}
