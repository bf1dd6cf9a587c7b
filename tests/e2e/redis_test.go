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

// overRedis returns a network that uses Redis. Each bus has its own client, as if it were in its
// own process. counts says whether Redis returns the number of receivers of a frame.
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

func TestRedis(t *testing.T) {
	server := testenv.Redis(t)
	newClient := func() redis.UniversalClient { return redis.NewClient(&redis.Options{Addr: server.Addr()}) }
	e2e.RunEach(t, map[string]e2e.Network{
		"Plain":  overRedis(true, newClient),
		"Prefix": overRedis(true, newClient, redisbus.WithPrefix("fleet:")),
	})
}

func TestRedisCluster(t *testing.T) {
	addresses := testenv.RedisCluster(t).Addrs()
	newClient := func() redis.UniversalClient {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses})
	}
	sharded := overRedis(true, newClient, redisbus.WithPrefix("fleet:"), redisbus.WithShardedPubSub())
	sharded.MixesChannels = true // the channels are on different Redis servers
	e2e.RunEach(t, map[string]e2e.Network{
		"Plain":         overRedis(false, newClient),
		"PrefixSharded": sharded,
	})
}
