package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/faults/scene"
)

const probeInterval = time.Second

// timedEvent is an event of a bus and when it came.
type timedEvent struct {
	bus.Event

	at time.Time
}

// timedEvents returns a handler of events, and where it puts those about the link.
func timedEvents() (handle func(bus.Event), came <-chan timedEvent) {
	events := make(chan timedEvent, 100)
	return func(event bus.Event) {
		if event.Kind != bus.Dropped {
			events <- timedEvent{event, time.Now()}
		}
	}, events
}

// halfOpen is a broker with two ways to it, of which one has a link that can be made to swallow
// what is sent.
type halfOpen struct {
	proxy  *testenv.Proxy
	events <-chan timedEvent // of the bus that the proxy is in front of
	broken bus.Bus
	whole  bus.Bus
}

func onHalfOpen(t *testing.T, test func(t *testing.T, h halfOpen)) {
	t.Helper()
	t.Run(scene.RedisName, func(t *testing.T) {
		t.Parallel()
		server := testenv.Redis(t)
		proxy := testenv.NewProxy(t, server.Addr())
		handle, events := timedEvents()
		broken := scene.Redis(t, proxy.Addr(), redisbus.WithProbeInterval(probeInterval), redisbus.WithEventHandler(handle))
		test(t, halfOpen{proxy, events, broken, scene.Redis(t, server.Addr())})
	})
	t.Run(scene.NATSName, func(t *testing.T) {
		t.Parallel()
		server := testenv.NATSProcess(t)
		proxy := testenv.NewProxy(t, server.Addr())
		handle, events := timedEvents()
		broken := scene.NATS(t, "nats://"+proxy.Addr(), natsbus.WithProbeInterval(probeInterval), natsbus.WithEventHandler(handle))
		test(t, halfOpen{proxy, events, broken, scene.NATS(t, server.URL())})
	})
}

// A link that swallows what is sent, while its sockets stay open, is noticed and replaced within
// two probe intervals. Meanwhile calls end by their deadline.
func TestHalfOpen_ClientLink(t *testing.T) {
	t.Parallel()
	onHalfOpen(t, func(t *testing.T, h halfOpen) {
		done := newLedger()
		_, publisher := serveAll(t, h.whole, "first", done)
		serveAll(t, h.whole, "second", done)
		loads := startAllKinds(t, scene.Conn(t, h.broken), 2, publisher, done, func() {})
		requireHealing(t, h, loads)
		for _, l := range loads {
			l.requireOutcomes(t, brief, errors.Unavailable, errors.DeadlineExceeded)
		}
		done.requireOnce(t)
	})
}

// requireHealing makes the link swallow what is sent and requires that it is replaced.
func requireHealing(t *testing.T, h halfOpen, loads []*load) {
	t.Helper()
	nextSuccesses(loads).await(t, time.Now())
	failing := nextFailures(loads)
	h.proxy.BlackHole()
	broken := time.Now()
	failing.await(t, broken)
	working := nextSuccesses(loads)
	noticed := scene.Soon(t, h.events, "the bus notices")
	assert.Equal(t, bus.Disconnected, noticed.Kind)
	healed := scene.Soon(t, h.events, "the bus heals")
	assert.Equal(t, bus.Reconnected, healed.Kind)
	t.Logf("all kinds work again after %v", working.await(t, broken))
	t.Logf("probes every %v: noticed after %v (%v), healed after %v", probeInterval,
		noticed.at.Sub(broken).Round(time.Millisecond), noticed.Err, healed.at.Sub(broken).Round(time.Millisecond))
	assert.Less(t, healed.at.Sub(broken), 2*probeInterval+slack)
}

// The same with the link of a server.
func TestHalfOpen_ServerLink(t *testing.T) {
	t.Parallel()
	onHalfOpen(t, func(t *testing.T, h halfOpen) {
		done := newLedger()
		_, publisher := serveAll(t, h.broken, "only", done)
		loads := startAllKinds(t, scene.Conn(t, h.whole), 1, publisher, done, func() {})
		requireHealing(t, h, loads)
		for _, l := range loads {
			l.requireOutcomes(t, brief, errors.Unavailable, errors.DeadlineExceeded)
		}
		done.requireOnce(t)
	})
}
