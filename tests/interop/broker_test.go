package interop

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/livekit/psrpc"
	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// broker creates connections to a broker. Each bus has a connection of its own.
type broker interface {
	// dynpsrpc returns a bus of dynpsrpc, which is closed at the end of the test.
	dynpsrpc(t *testing.T) bus.Bus
	// psrpc returns a bus of psrpc. The function settle waits until the broker has most likely
	// processed all subscriptions that were made on the bus before; psrpc does not wait for that.
	psrpc(t *testing.T, f features) (b psrpc.MessageBus, settle func())
	// observe calls handle with every frame that is published from now on.
	observe(t *testing.T, handle func(frame []byte))
}

// features are features of either library that are off by default.
type features struct {
	// compression compresses all messages that are published.
	compression bool
	// skipClaim makes psrpc servers run queue calls without a claim, if the client allows it.
	skipClaim bool
	// skipped counts the calls that servers with skipClaim have run without a claim.
	skipped *atomic.Int64
	// decided receives the decisions about the requests that psrpc servers have claimed. It may be
	// nil. Only the latest psrpc reports them.
	decided chan claimDecision
}

// claimDecision is the decision about a request that a server has claimed, and the time that the
// server has waited for the decision.
type claimDecision struct {
	outcome string
	wait    time.Duration
}

// brokers are the columns of the table in docs/migrating.md for one version of psrpc and one role.
var brokers = []struct {
	name  string
	start func(t *testing.T) broker
}{
	{"Redis", func(t *testing.T) broker { t.Helper(); return redisBroker{testenv.Redis(t)} }},
	{"NATS", func(t *testing.T) broker { t.Helper(); return natsBroker{testenv.NATS(t)} }},
}

type redisBroker struct{ server *testenv.RedisServer }

func (b redisBroker) client(t *testing.T) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: b.server.Addr()})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (b redisBroker) dynpsrpc(t *testing.T) bus.Bus {
	t.Helper()
	return testkit.Redis(t, b.server.Addr())
}

func (b redisBroker) psrpc(t *testing.T, f features) (psrpc.MessageBus, func()) {
	t.Helper()
	return newPsrpcRedis(b.client(t), f), func() { settleRedis(t, b.client(t)) }
}

func (b redisBroker) observe(t *testing.T, handle func(frame []byte)) {
	t.Helper()
	subscription := b.client(t).PSubscribe(t.Context(), "*")
	t.Cleanup(func() { _ = subscription.Close() })
	_, err := subscription.Receive(t.Context())
	require.NoError(t, err)
	go func() { // It ends when the subscription is closed.
		for message := range subscription.Channel() {
			handle([]byte(message.Payload))
		}
	}()
}

type natsBroker struct{ server *testenv.NATSServer }

func (b natsBroker) connect(t *testing.T) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(b.server.URL(), natsbus.ConnOptions()...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func (b natsBroker) dynpsrpc(t *testing.T) bus.Bus {
	t.Helper()
	return testkit.NATS(t, b.server.URL(), natsbus.WithProbeInterval(callTimeout))
}

func (b natsBroker) psrpc(t *testing.T, f features) (psrpc.MessageBus, func()) {
	t.Helper()
	nc := b.connect(t)
	return newPsrpcNATS(nc, f), func() { require.NoError(t, nc.Flush()) }
}

func (b natsBroker) observe(t *testing.T, handle func(frame []byte)) {
	t.Helper()
	nc := b.connect(t)
	_, err := nc.Subscribe(">", func(message *nats.Msg) { handle(message.Data) })
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
}
