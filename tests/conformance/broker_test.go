package conformance_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// TestMain lets more tests run in parallel than the machine has processors, because most tests
// spend most of their time waiting.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// broker is a message broker to which both dynpsrpc and the reference peer can connect.
type broker interface {
	// link returns a new connection for the reference peer.
	link(t testing.TB) link
	// bus returns a dynpsrpc bus with its own connection, which is closed when the test ends.
	bus(t testing.TB) bus.Bus
	// alone returns the same broker. On Redis, it also selects a database that no other test uses,
	// so that the database contains only the locks of one test.
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
	used     *atomic.Int64 // number of databases in use
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
	return testkit.RedisOver(t, redis.NewClient(&redis.Options{Addr: b.addr, DB: b.database}), redisbus.WithProbeInterval(patience))
}

var serviceCount atomic.Int64

// serviceName returns a service name that no other test uses.
func serviceName(base string) string { return fmt.Sprintf("%sN%d", base, serviceCount.Add(1)) }
