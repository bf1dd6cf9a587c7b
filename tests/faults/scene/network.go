package scene

import (
	"slices"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// Names of the networks.
const (
	LocalName = "local"
	RedisName = "redis"
	NATSName  = "nats"
)

// Network connects the clients and servers of one test.
type Network struct {
	// Name is the kind of bus.
	Name string
	// Connect returns a bus, with its own connections if the network has a broker.
	Connect func(tb testing.TB) bus.Bus
}

// OnEach runs test on every kind of network, as parallel subtests of t.
func OnEach(t *testing.T, test func(t *testing.T, network Network)) {
	t.Helper()
	t.Run(LocalName, func(t *testing.T) {
		t.Parallel()
		test(t, OnLocal(t))
	})
	OnBrokers(t, test)
}

// OnBrokers runs test on every kind of network that has a broker, as parallel subtests of t.
func OnBrokers(t *testing.T, test func(t *testing.T, network Network)) {
	t.Helper()
	t.Run(RedisName, func(t *testing.T) {
		t.Parallel()
		test(t, OnRedis(t))
	})
	t.Run(NATSName, func(t *testing.T) {
		t.Parallel()
		test(t, OnNATS(t))
	})
}

// OnEachWithLimit runs test on every kind of network, with the given maximum frame size in bytes,
// as parallel subtests of t.
func OnEachWithLimit(t *testing.T, bytes int32, test func(t *testing.T, network Network)) {
	t.Helper()
	t.Run(LocalName, func(t *testing.T) {
		t.Parallel()
		b := bus.NewLocal(bus.WithMaxFrameSize(int(bytes)))
		test(t, Network{LocalName, func(testing.TB) bus.Bus { return b }})
	})
	t.Run(RedisName, func(t *testing.T) {
		t.Parallel()
		addr := testenv.Redis(t).Addr()
		test(t, Network{RedisName, func(tb testing.TB) bus.Bus {
			tb.Helper()
			return Redis(tb, addr, redisbus.WithMaxFrameSize(int(bytes)))
		}})
	})
	t.Run(NATSName, func(t *testing.T) {
		t.Parallel()
		url := testenv.NATS(t, func(o *server.Options) { o.MaxPayload = bytes }).URL()
		test(t, Network{NATSName, func(tb testing.TB) bus.Bus { tb.Helper(); return NATS(tb, url) }})
	})
}

// OnLocal returns an in-process network. All its peers share one bus.
func OnLocal(tb testing.TB) Network {
	tb.Helper()
	b := bus.NewLocal()
	tb.Cleanup(func() { require.NoError(tb, b.Close()) })
	return Network{LocalName, func(testing.TB) bus.Bus { return b }}
}

// OnRedis returns a network with a new Redis server.
func OnRedis(tb testing.TB) Network {
	tb.Helper()
	addr := testenv.Redis(tb).Addr()
	return Network{RedisName, func(tb testing.TB) bus.Bus { tb.Helper(); return Redis(tb, addr) }}
}

// OnNATS returns a network with a new NATS server in a separate process.
func OnNATS(tb testing.TB) Network {
	tb.Helper()
	url := testenv.NATSProcess(tb).URL()
	return Network{NATSName, func(tb testing.TB) bus.Bus { tb.Helper(); return NATS(tb, url) }}
}

// Redis returns a bus with a new client of the Redis server at addr.
func Redis(tb testing.TB, addr string, opts ...redisbus.Option) *redisbus.Bus {
	tb.Helper()
	return RedisOver(tb, redis.NewClient(&redis.Options{Addr: addr}), opts...)
}

// RedisOver returns a bus over client. Both are closed when the test ends.
func RedisOver(tb testing.TB, client redis.UniversalClient, opts ...redisbus.Option) *redisbus.Bus {
	tb.Helper()
	tb.Cleanup(func() { require.NoError(tb, client.Close()) })
	b, err := redisbus.New(client, opts...)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, b.Close()) })
	return b
}

// NATS returns a bus with a new connection to the NATS server at url.
func NATS(tb testing.TB, url string, opts ...natsbus.Option) *natsbus.Bus {
	tb.Helper()
	return NATSOver(tb, url, nil, opts...)
}

// NATSOver is NATS with additional options for the connection.
func NATSOver(tb testing.TB, url string, connOpts []nats.Option, opts ...natsbus.Option) *natsbus.Bus {
	tb.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(url, slices.Concat(natsbus.ConnOptions(), connOpts, []nats.Option{
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // the bus adds its own
	})...)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		nc.Close()
		<-closed
	})
	b, err := natsbus.New(nc, opts...)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, b.Close()) })
	return b
}
