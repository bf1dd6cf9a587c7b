package dynamic_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// TestSubscriptionSetting_ConnDefault checks that the settings of a conn apply to its
// subscriptions, and that those of a subscription take precedence.
func TestSubscriptionSetting_ConnDefault(t *testing.T) {
	t.Parallel()
	const updates, kept = 20, 5
	w := newWorld(t)
	w.registry = newRegistry(t, kindsSource)
	conn, err := dynamic.NewConn(w.bus, w.registry, dynamic.WithBufferSize(kept), dynamic.WithOverflow(dynamic.EndSubscription))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	client := textClient(t, conn, "kinds.Fleet/News")
	byDefault, err := client.Subscribe(t.Context())
	require.NoError(t, err)
	own, err := client.Subscribe(t.Context(), dynamic.WithBufferSize(2*updates))
	require.NoError(t, err)
	newest, err := client.Subscribe(t.Context(), dynamic.WithOverflow(dynamic.DropNewest))
	require.NoError(t, err)
	for i := range updates {
		require.NoError(t, dynamic.Publish(t.Context(), conn, "kinds.Fleet/News", say(strconv.Itoa(i))))
	}
	for range byDefault.Channel() { // the subscription ends, and its channel is closed
	}
	require.ErrorIs(t, byDefault.Err(), errors.ErrSlowConsumer)
	assert.Equal(t, kept, cap(byDefault.Channel()))
	require.NoError(t, own.Err())
	assert.EqualValues(t, updates, own.Stats().Waiting)
	require.NoError(t, newest.Err())
	assert.Positive(t, newest.Stats().Dropped)
}

// TestStreamSetting_Defaults checks that the settings of a conn, a server and a service apply to
// their streams. Settings of a handler take precedence over those of its service, which take
// precedence over those of the server.
func TestStreamSetting_Defaults(t *testing.T) {
	t.Parallel()
	capacities := make(chan int, 1)
	handle := func(stream serverText) error {
		capacities <- cap(stream.Channel())
		return echoFlow(stream)
	}
	for name, tt := range map[string]struct {
		server   []dynamic.ServerOption
		register []dynamic.ServiceOption
		handler  []dynamic.HandlerOption
		conn     []dynamic.ConnOption
		request  []dynamic.RequestOption
		// wantServer and wantClient are the capacities of the channels on both sides.
		wantServer, wantClient int
	}{
		"none": {wantServer: dynamic.DefaultStreamBuffer, wantClient: dynamic.DefaultStreamBuffer},
		"server and conn": {
			server: []dynamic.ServerOption{dynamic.WithStreamBuffer(3)},
			conn:   []dynamic.ConnOption{dynamic.WithStreamBuffer(4)}, wantServer: 3, wantClient: 4,
		},
		"service and request": {
			server:   []dynamic.ServerOption{dynamic.WithStreamBuffer(3)},
			register: []dynamic.ServiceOption{dynamic.WithStreamBuffer(5)},
			conn:     []dynamic.ConnOption{dynamic.WithStreamBuffer(4)},
			request:  []dynamic.RequestOption{dynamic.WithStreamBuffer(6)}, wantServer: 5, wantClient: 6,
		},
		"handler, and back to the default": {
			server:   []dynamic.ServerOption{dynamic.WithStreamBuffer(3)},
			register: []dynamic.ServiceOption{dynamic.WithStreamBuffer(5)},
			handler:  []dynamic.HandlerOption{dynamic.WithStreamBuffer(7)},
			conn:     []dynamic.ConnOption{dynamic.WithStreamBuffer(4)},
			request:  []dynamic.RequestOption{dynamic.WithStreamBuffer(0)}, wantServer: 7, wantClient: dynamic.DefaultStreamBuffer,
		},
	} {
		w := newWorldOn(t, bus.NewLocal(), tt.server...)
		w.registry = newRegistry(t, streamSource)
		_, err := w.server.Register(descriptor(t, w.registry, "streams.Flows"), dynamic.Handlers{
			"Flow": dynamic.Stream(handle, tt.handler...),
		}, append(tt.register, dynamic.AllowMissing())...)
		require.NoError(t, err)
		conn, err := dynamic.NewConn(w.bus, w.registry, append(tt.conn, patient...)...)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, conn.Close()) })
		stream, err := textClient(t, conn, flow).OpenStream(t.Context(), tt.request...)
		require.NoError(t, err)
		assert.Equal(t, tt.wantClient, cap(stream.Channel()), name)
		assert.Equal(t, tt.wantServer, requireSoon(t, capacities, "the handler"), name)
		require.NoError(t, stream.Close(nil))
	}
}

// windowRecorder records the send window of a stream each time a message is sent.
type windowRecorder struct {
	dynamic.StreamHandler

	windows chan<- int
}

func (r windowRecorder) Send(message proto.Message, opts ...dynamic.StreamOption) error {
	_, _, window := dynamic.SendBounds(r.StreamHandler)
	r.windows <- window
	return r.StreamHandler.Send(message, opts...)
}

// TestStreamSetting_WindowDefault checks that a window set on a conn applies to its streams, and
// that a single stream can change it or turn it off.
func TestStreamSetting_WindowDefault(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), echoFlow)
	windows := make(chan int, 1)
	w.conn = w.newConn(t, dynamic.WithStreamWindow(10), dynamic.WithClientStreamInterceptors(
		func(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
			return windowRecorder{next, windows}
		}))
	for want, opts := range map[int][]dynamic.RequestOption{
		10: nil, 20: {dynamic.WithStreamWindow(20)}, 0: {dynamic.WithStreamWindow(0)},
	} {
		stream := w.open(t, flow, opts...)
		require.NoError(t, stream.Send(say("hi")))
		assert.Equal(t, want, requireSoon(t, windows, "a message"))
		requireText(t, "hi", stream.Channel())
		require.NoError(t, stream.Close(nil))
	}
}
