package wire_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// TestMain lets more tests run at the same time than there are processors, since most of them
// mostly wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// broker is where our engine and the reference peer meet.
type broker interface {
	// link returns a connection of the reference peer.
	link(t testing.TB) link
	// bus returns a connection of our engine. The caller closes it.
	bus(t testing.TB) bus.Bus
	// alone returns the same broker, with a database for the locks of queues that nobody else uses.
	alone() (broker, int)
}

// onEachBroker runs a test on Redis and on NATS.
func onEachBroker(t *testing.T, test func(t *testing.T, b broker)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, newRedisBroker(t))
	})
	t.Run("nats", func(t *testing.T) {
		t.Parallel()
		test(t, newNATSBroker(t))
	})
}

const databases = 1000

type redisBroker struct {
	addr     string
	database int
	used     *atomic.Int64 // databases
}

func newRedisBroker(t testing.TB) redisBroker {
	t.Helper()
	return redisBroker{addr: testenv.Redis(t, "--databases", strconv.Itoa(databases)).Addr(), used: new(atomic.Int64)}
}

func (b redisBroker) alone() (broker, int) {
	b.database = int(b.used.Add(1)) % databases
	return b, b.database
}

func (b redisBroker) link(t testing.TB) link { return newRedisLink(t, b.addr, b.database) }

func (b redisBroker) bus(t testing.TB) bus.Bus {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: b.addr, DB: b.database})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	connected, err := redisbus.New(client)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, connected.Close()) })
	return connected
}

var serviceCount atomic.Int64

// serviceName returns a name that no other test uses.
func serviceName(base string) string { return fmt.Sprintf("%sN%d", base, serviceCount.Add(1)) }
