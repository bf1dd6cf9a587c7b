package testkit

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

// These are the names of the networks. They are also the names of the subtests.
const (
	LocalName = "local"
	RedisName = "redis"
	NATSName  = "nats"
)

// Network is the network on which the clients and servers of one test communicate.
type Network struct {
	// Name is LocalName, RedisName or NATSName.
	Name string
	// Connect returns a bus. If the network has a broker, each call returns a new bus with its own
	// connections. On an in-process network, all calls return the same bus.
	Connect func(tb testing.TB) bus.Bus
}

// OnEach runs test on every kind of network, in parallel subtests of t.
func OnEach(t *testing.T, test func(t *testing.T, network Network)) {
	t.Helper()
	t.Run(LocalName, func(t *testing.T) {
		t.Parallel()
		test(t, OnLocal(t))
	})
	OnBrokers(t, test)
}

// OnBrokers runs test on every kind of network that has a broker, in parallel subtests of t.
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

// OnEachWithLimit runs test on every kind of network, in parallel subtests of t. On each network,
// the maximum size of a frame is maxFrameSize bytes.
func OnEachWithLimit(t *testing.T, maxFrameSize int32, test func(t *testing.T, network Network)) {
	t.Helper()
	t.Run(LocalName, func(t *testing.T) {
		t.Parallel()
		b := bus.NewLocal(bus.WithMaxFrameSize(int(maxFrameSize)))
		test(t, Network{LocalName, func(testing.TB) bus.Bus { return b }})
	})
	t.Run(RedisName, func(t *testing.T) {
		t.Parallel()
		addr := testenv.Redis(t).Addr()
		test(t, Network{RedisName, func(tb testing.TB) bus.Bus {
			tb.Helper()
			limit := []redisbus.Option{redisbus.WithMaxFrameSize(int(maxFrameSize))}
			return Redis(tb, addr, slices.Concat(patientRedis, limit)...)
		}})
	})
	t.Run(NATSName, func(t *testing.T) {
		t.Parallel()
		url := testenv.NATS(t, func(o *server.Options) { o.MaxPayload = maxFrameSize }).URL()
		test(t, Network{NATSName, func(tb testing.TB) bus.Bus { tb.Helper(); return patientNATS(tb, url) }})
	})
}

// OnLocal returns an in-process network. All peers on the network share one bus.
func OnLocal(tb testing.TB) Network {
	tb.Helper()
	b := bus.NewLocal()
	tb.Cleanup(func() { require.NoError(tb, b.Close()) })
	return Network{LocalName, func(testing.TB) bus.Bus { return b }}
}

// OnRedis starts a Redis server and returns a network that uses it.
func OnRedis(tb testing.TB) Network {
	tb.Helper()
	addr := testenv.Redis(tb).Addr()
	return Network{RedisName, func(tb testing.TB) bus.Bus { tb.Helper(); return Redis(tb, addr, patientRedis...) }}
}

// OnNATS starts a NATS server in a separate process and returns a network that uses it.
func OnNATS(tb testing.TB) Network {
	tb.Helper()
	url := testenv.NATSProcess(tb).URL()
	return Network{NATSName, func(tb testing.TB) bus.Bus { tb.Helper(); return patientNATS(tb, url) }}
}

// patientRedis are the options of the buses on a Redis network. The broker of a network always works.
// A bus must therefore not give up a connection because the machine is slow.
var patientRedis = []redisbus.Option{redisbus.WithProbeInterval(Patience), redisbus.WithConnectTimeout(Patience)}

// patientNATS is like [NATS], with options for the same purpose as patientRedis.
func patientNATS(tb testing.TB, url string) bus.Bus {
	tb.Helper()
	return NATSOver(tb, url, []nats.Option{nats.Timeout(Patience)}, natsbus.WithProbeInterval(Patience))
}

// Redis returns a bus that uses a new client for the Redis server at addr. Both the bus and the
// client are closed when the test ends.
func Redis(tb testing.TB, addr string, opts ...redisbus.Option) *redisbus.Bus {
	tb.Helper()
	return RedisOver(tb, redis.NewClient(&redis.Options{Addr: addr}), opts...)
}

// RedisOver returns a bus that uses client. Both the bus and the client are closed when the test
// ends.
func RedisOver(tb testing.TB, client redis.UniversalClient, opts ...redisbus.Option) *redisbus.Bus {
	tb.Helper()
	tb.Cleanup(func() { require.NoError(tb, client.Close()) })
	b, err := redisbus.New(client, opts...)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, b.Close()) })
	return b
}

// NATS returns a bus that uses a new connection to the NATS server at url. Both the bus and the
// connection are closed when the test ends.
func NATS(tb testing.TB, url string, opts ...natsbus.Option) *natsbus.Bus {
	tb.Helper()
	return NATSOver(tb, url, nil, opts...)
}

// NATSOver is like [NATS], but also applies connOpts to the connection.
func NATSOver(tb testing.TB, url string, connOpts []nats.Option, opts ...natsbus.Option) *natsbus.Bus {
	tb.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(url, slices.Concat(natsbus.ConnOptions(), connOpts, []nats.Option{
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
		// The default error handler would print to stderr.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
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
