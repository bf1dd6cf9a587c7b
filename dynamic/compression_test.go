package dynamic_test

import (
	"compress/gzip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// compressedKinds returns the kinds of messages that were published in compressed form at least
// once.
func compressedKinds(t testing.TB, b *fakeBus) map[wire.Kind]bool {
	t.Helper()
	kinds := map[wire.Kind]bool{}
	for _, sent := range b.sent() {
		envelope, err := wire.ParseEnvelope(sent.frame)
		require.NoError(t, err)
		if wire.IsCompressed(envelope.Value) {
			kinds[envelope.Kind] = true
		}
	}
	return kinds
}

// TestWithCompression_EveryKind checks that a server and a conn compress large requests, responses
// and updates, and only these.
func TestWithCompression_EveryKind(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 5000)
	b := newFakeBus()
	compression := dynamic.WithCompression(gzip.BestSpeed)
	w := newWorldOn(t, b, compression)
	w.registry = newRegistry(t, kindsSource)
	conn, err := dynamic.NewConn(w.bus, w.registry, patientConn, compression)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	registration, err := w.server.Register(descriptor(t, w.registry, "kinds.Fleet"), dynamic.Handlers{
		"Best": identity[text](), "All": identity[text](),
	}, dynamic.AllowMissing())
	require.NoError(t, err)

	response, err := textClient(t, conn, "kinds.Fleet/Best").Call(t.Context(), say(large))
	require.NoError(t, err)
	assert.Equal(t, large, response.GetValue())
	assert.Equal(t, map[wire.Kind]bool{wire.KindRequest: true, wire.KindResponse: true}, compressedKinds(t, b))

	responses, err := textClient(t, conn, "kinds.Fleet/All").CallMulti(t.Context(), say(large))
	require.NoError(t, err)
	only := requireSoon(t, responses, "response")
	require.NoError(t, only.Err)
	assert.Equal(t, large, only.Result.GetValue())

	for _, method := range []string{"Jobs", "News"} {
		updates, err := textClient(t, conn, "kinds.Fleet/"+method).Subscribe(t.Context())
		require.NoError(t, err)
		require.NoError(t, registration.Publish(t.Context(), method, say(large)))
		require.NoError(t, dynamic.Publish(t.Context(), conn, "kinds.Fleet/"+method, say(large)))
		requireText(t, large, updates.Channel())
		requireText(t, large, updates.Channel())
	}
	assert.True(t, compressedKinds(t, b)[wire.KindUnknown], "updates")
	assert.Equal(t, dynamic.ServerStats{}, w.server.Stats())
	assert.Equal(t, dynamic.ConnStats{}, conn.Stats())
}

func TestWithCompression_Stream(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 5000)
	b := newFakeBus()
	w := newFlowWorld(t, b, echoFlow, dynamic.WithCompression(gzip.BestSpeed))
	w.conn = w.newConn(t, dynamic.WithCompression(gzip.BestSpeed))
	stream := w.open(t, flow)
	for range 3 {
		require.NoError(t, stream.Send(say(large)))
		requireText(t, large, stream.Channel())
	}
	require.NoError(t, stream.Close(nil))
	assert.Equal(t, map[wire.Kind]bool{wire.KindStream: true}, compressedKinds(t, b))
	assert.Zero(t, w.badFrames())
}

// TestWithCompression_Threshold checks that only large messages are compressed, and that every side
// uses its own options.
func TestWithCompression_Threshold(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b, dynamic.WithCompression(gzip.BestSpeed))
	w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
	request := strings.Repeat("x", 500)
	_, err := w.call(t, echo, request)
	require.NoError(t, err)
	assert.Empty(t, compressedKinds(t, b))

	require.NoError(t, w.conn.Close())
	w.conn, err = dynamic.NewConn(
		b, w.registry, patientConn, dynamic.WithCompressionThreshold(300), dynamic.WithCompression(gzip.BestSpeed))
	require.NoError(t, err)
	_, err = w.call(t, echo, request)
	require.NoError(t, err)
	assert.Equal(t, map[wire.Kind]bool{wire.KindRequest: true}, compressedKinds(t, b))
}

// TestWithCompression_FrameSizeLimits checks that the limit of the bus applies to the compressed
// frame, and WithMaxFrameSize to the size before compression.
func TestWithCompression_FrameSizeLimits(t *testing.T) {
	t.Parallel()
	const limit = 2000
	large := strings.Repeat("x", 2*limit)
	b := bus.NewLocal(bus.WithMaxFrameSize(limit))
	w := newWorldOn(t, b, dynamic.WithCompression(gzip.BestSpeed))
	w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
	_, err := w.call(t, echo, large)
	require.ErrorIs(t, err, bus.ErrFrameTooLarge)

	require.NoError(t, w.conn.Close())
	w.conn, err = dynamic.NewConn(b, w.registry, patientConn, dynamic.WithCompression(gzip.BestSpeed))
	require.NoError(t, err)
	response, err := w.call(t, echo, large)
	require.NoError(t, err)
	assert.Equal(t, large, response)

	limited, err := dynamic.NewConn(
		b, w.registry, patientConn, dynamic.WithCompression(gzip.BestSpeed), dynamic.WithMaxFrameSize(limit))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limited.Close()) })
	_, err = textClient(t, limited, echo).Call(t.Context(), say(large))
	require.ErrorIs(t, err, bus.ErrFrameTooLarge)
}

func TestWithCompression_InvalidLevel(t *testing.T) {
	t.Parallel()
	b, reg := bus.NewLocal(), newRegistry(t)
	for _, level := range []int{-3, 10} {
		_, err := dynamic.NewConn(b, reg, dynamic.WithCompression(level))
		requireCode(t, errors.InvalidArgument, err)
		require.ErrorContains(t, err, "WithCompression")
		_, err = dynamic.NewServer(b, dynamic.WithCompression(level)).Register(
			descriptor(t, reg, "test.Echoes"), nil, dynamic.AllowMissing())
		requireCode(t, errors.InvalidArgument, err)
	}
}

// TestWithCompression_Unicast checks that servers on Redis accept compressed requests that are sent
// to one of them, and requests that go to the queue because that server is gone.
func TestWithCompression_Unicast(t *testing.T) {
	t.Parallel()
	redis, caller := testenv.Redis(t), &countingRedis{}
	first, _, _ := echoServer(t, redisBus(t, redis))
	second, _, _ := echoServer(t, redisBus(t, redis))
	caller.Bus = redisBus(t, redis)
	client := echoClient(t, caller, patientConn, dynamic.WithCompression(gzip.BestSpeed))
	caller.callUntilUnicast(t, client)
	large := strings.Repeat("x", 5000)
	call := func(times int) {
		for range times {
			response, err := client.Call(t.Context(), say(large))
			require.NoError(t, err)
			require.Equal(t, large, response.GetValue())
		}
	}
	before := caller.unicast.Load()
	call(20)
	assert.Greater(t, caller.unicast.Load(), before+10)
	require.NoError(t, first.Shutdown(t.Context()))
	call(20)
	assert.Equal(t, dynamic.ServerStats{}, second.Stats())
}
