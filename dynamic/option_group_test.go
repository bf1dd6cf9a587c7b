package dynamic_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// TestOptionGroups_Order checks that an option which combines several options applies all of them
// in order.
func TestOptionGroups_Order(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{
		server: []dynamic.ServerOption{dynamic.ServerOptions(
			dynamic.WithServerID("SRV_group"),
			dynamic.ServiceOptions(
				dynamic.WithServerRPCInterceptors(markCalls("a")), dynamic.WithServerRPCInterceptors(markCalls("b")),
			),
		)},
		register: []dynamic.ServiceOption{dynamic.ServiceOptions(dynamic.WithServerRPCInterceptors(markCalls("c")))},
		conn: []dynamic.ConnOption{dynamic.ConnOptions(
			dynamic.WithClientID("CLI_group"), dynamic.WithClientRPCInterceptors(markClientCalls("d")),
		)},
	})
	response, err := w.call(t, seenEcho, "hi")
	require.NoError(t, err)
	assert.Equal(t, "hi>d>a>b>c<c<b<a<d", response)
	assert.Equal(t, "CLI_group", w.conn.ID())
	assert.Equal(t, "SRV_group", w.server.ID())
}

// TestOptions_BothTargets checks that a group of options applies to servers and conns.
func TestOptions_BothTargets(t *testing.T) {
	t.Parallel()
	group := dynamic.Options(dynamic.WithMaxFrameSize(10), nil, dynamic.WithMaxFrameSize(1000))
	w := newWorldOn(t, bus.NewLocal(), group)
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(echoHandler)})
	conn, err := dynamic.NewConn(w.bus, w.registry, group, dynamic.ConnOptions(patient...))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	_, err = textClient(t, conn, echo).Call(t.Context(), say("hi"))
	require.NoError(t, err)
	_, err = textClient(t, conn, echo).Call(t.Context(), say(strings.Repeat("x", 2000)))
	require.ErrorIs(t, err, bus.ErrFrameTooLarge)
}
