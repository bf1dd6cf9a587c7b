package wire_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
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
	conn, err := nats.Connect(b.url, natsbus.ConnOptions()...)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	connected, err := natsbus.New(conn)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, connected.Close()) })
	return connected
}
