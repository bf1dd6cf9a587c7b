package e2e_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/e2e"
)

// overRedis is a network of processes that each have a client of their own.
func overRedis(counts bool, newClient func() redis.UniversalClient, opts ...redisbus.Option) e2e.Network {
	return e2e.Network{
		Connect: func(t testing.TB) bus.Bus {
			client := newClient()
			b, err := redisbus.New(client, opts...)
			require.NoError(t, err)
			t.Cleanup(func() {
				require.NoError(t, b.Close())
				require.NoError(t, client.Close())
			})
			return b
		},
		CountsReceivers: counts,
		NoticesSilence:  counts,
	}
}

func TestRedis(t *testing.T) { // one network at a time: the suite counts goroutines
	server := testenv.Redis(t)
	newClient := func() redis.UniversalClient { return redis.NewClient(&redis.Options{Addr: server.Addr()}) }
	t.Run("Plain", func(t *testing.T) {
		e2e.Run(t, overRedis(true, newClient))
	})
	t.Run("Prefix", func(t *testing.T) {
		e2e.Run(t, overRedis(true, newClient, redisbus.WithPrefix("fleet:")))
	})
}

func TestRedisCluster(t *testing.T) {
	addresses := testenv.RedisCluster(t).Addrs()
	newClient := func() redis.UniversalClient {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses})
	}
	t.Run("Plain", func(t *testing.T) {
		e2e.Run(t, overRedis(false, newClient))
	})
	t.Run("PrefixSharded", func(t *testing.T) {
		network := overRedis(true, newClient, redisbus.WithPrefix("fleet:"), redisbus.WithShardedPubSub())
		network.MixesChannels = true // they are on different servers
		e2e.Run(t, network)
	})
}
