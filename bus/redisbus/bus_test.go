package redisbus_test

import (
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

func TestMain(m *testing.M) {
	redis.SetLogger(redisbus.NewClientLogger(&goRedisLog))
	goleak.VerifyTestMain(m)
}

// goRedisLog contains what go-redis has logged.
var goRedisLog lockedBuffer

const maxFrameSize = 1 << 20

// patient contains long timeouts, so that a bus does not give up a connection because the machine
// is slow.
var patient = []redisbus.Option{redisbus.WithProbeInterval(waitTimeout), redisbus.WithConnectTimeout(waitTimeout)}

// connect returns a bus that has its own client. By default, it has the options in patient.
func connect(t testing.TB, server *testenv.RedisServer, opts ...redisbus.Option) *redisbus.Bus {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	b, err := redisbus.New(client, slices.Concat(patient, opts)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, b.Close())
		require.NoError(t, client.Close())
	})
	return b
}

func TestBus_Conformance(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	for name, opts := range map[string][]redisbus.Option{
		"Plain":   nil,
		"Prefix":  {redisbus.WithPrefix("fleet:")},
		"Sharded": {redisbus.WithShardedPubSub()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bustest.Run(t, bustest.Network{
				Connect: func(t testing.TB) bus.Bus {
					return connect(t, server, append(opts, redisbus.WithMaxFrameSize(maxFrameSize))...)
				},
				CountsReceivers:      true,
				CountsSubscriptions:  true,
				DetectsNoSubscribers: true,
				UnevenQueue:          true,
				MaxFrameSize:         maxFrameSize,
			})
		})
	}
}
