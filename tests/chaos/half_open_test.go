package chaos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// On a busy machine, a broker may take seconds to answer a probe. probeInterval is longer than
// that. Otherwise, the bus would also replace links that work.
const probeInterval = 3 * time.Second

// timedEvent is an event of a bus and the time at which it occurred.
type timedEvent struct {
	bus.Event

	at time.Time
}

// timedEvents returns an event handler and a channel. The handler sends all events to the channel,
// except those about dropped frames.
func timedEvents() (handle func(bus.Event), came <-chan timedEvent) {
	events := make(chan timedEvent, 100)
	return func(event bus.Event) {
		if event.Kind != bus.Dropped {
			events <- timedEvent{event, time.Now()}
		}
	}, events
}

// halfOpen consists of two buses on one broker. The bus broken connects through a proxy that can
// discard all bytes.
type halfOpen struct {
	proxy  *testenv.Proxy
	events <-chan timedEvent // the events of the bus broken
	broken bus.Bus
	whole  bus.Bus
}

func onHalfOpen(t *testing.T, test func(t *testing.T, h halfOpen)) {
	t.Helper()
	t.Run(testkit.RedisName, func(t *testing.T) {
		t.Parallel()
		server := testenv.Redis(t)
		proxy := testenv.NewProxy(t, server.Addr())
		handle, events := timedEvents()
		broken := testkit.Redis(t, proxy.Addr(), redisbus.WithProbeInterval(probeInterval), redisbus.WithEventHandler(handle))
		test(t, halfOpen{proxy, events, broken, testkit.Redis(t, server.Addr())})
	})
	t.Run(testkit.NATSName, func(t *testing.T) {
		t.Parallel()
		server := testenv.NATSProcess(t)
		proxy := testenv.NewProxy(t, server.Addr())
		handle, events := timedEvents()
		broken := testkit.NATS(t, "nats://"+proxy.Addr(), natsbus.WithProbeInterval(probeInterval), natsbus.WithEventHandler(handle))
		test(t, halfOpen{proxy, events, broken, testkit.NATS(t, server.URL())})
	})
}

// The client's link discards all bytes while its sockets stay open. The bus must detect this and
// replace the link within two probe intervals. Until then, operations must end by their deadlines.
func TestHalfOpen_ClientLink(t *testing.T) {
	t.Parallel()
	onHalfOpen(t, func(t *testing.T, h halfOpen) {
		done := newLedger()
		_, publisher := serveAll(t, h.whole, "first", done)
		serveAll(t, h.whole, "second", done)
		loads := startAllKinds(t, testkit.Conn(t, h.broken), 2, publisher, done, func() {})
		requireHealing(t, h, loads)
		for _, l := range loads {
			l.requireOutcomes(t, brief, errors.Unavailable, errors.DeadlineExceeded)
		}
		done.requireOnce(t)
	})
}

// requireHealing makes the proxy discard all bytes. It requires that the bus reconnects in time and
// that operations of all kinds succeed again.
func requireHealing(t *testing.T, h halfOpen, loads []*load) {
	t.Helper()
	nextSuccesses(loads).await(t, time.Now())
	failing := nextFailures(loads)
	h.proxy.BlackHole()
	broken := time.Now()
	failing.await(t, broken)
	working := nextSuccesses(loads)
	noticed := testkit.Soon(t, h.events, "the bus notices")
	assert.Equal(t, bus.Disconnected, noticed.Kind)
	healed := testkit.Soon(t, h.events, "the bus heals")
	assert.Equal(t, bus.Reconnected, healed.Kind)
	t.Logf("all kinds work again after %v", working.await(t, broken))
	t.Logf("probes every %v: noticed after %v (%v), healed after %v", probeInterval,
		noticed.at.Sub(broken).Round(time.Millisecond), noticed.Err, healed.at.Sub(broken).Round(time.Millisecond))
	assert.Less(t, healed.at.Sub(broken), 2*probeInterval+slack)
}

// The server's link discards all bytes while its sockets stay open. The requirements are the same
// as in TestHalfOpen_ClientLink.
func TestHalfOpen_ServerLink(t *testing.T) {
	t.Parallel()
	onHalfOpen(t, func(t *testing.T, h halfOpen) {
		done := newLedger()
		_, publisher := serveAll(t, h.broken, "only", done)
		loads := startAllKinds(t, testkit.Conn(t, h.whole), 1, publisher, done, func() {})
		requireHealing(t, h, loads)
		for _, l := range loads {
			l.requireOutcomes(t, brief, errors.Unavailable, errors.DeadlineExceeded)
		}
		done.requireOnce(t)
	})
}
