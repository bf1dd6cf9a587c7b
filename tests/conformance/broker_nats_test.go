package conformance_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

type natsBroker struct{ url string }

func newNATSBroker(t testing.TB) natsBroker {
	t.Helper()
	return natsBroker{testenv.NATS(t).URL()}
}

func (b natsBroker) alone() (broker, int) { return b, 0 }

func (b natsBroker) link(t testing.TB) link { return newNATSLink(t, b.url) }

func (b natsBroker) bus(t testing.TB) bus.Bus {
	t.Helper()
	return testkit.NATSOver(t, b.url, []nats.Option{nats.Timeout(patience)}, natsbus.WithProbeInterval(patience))
}
