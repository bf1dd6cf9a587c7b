package dynamic_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// numbered is an IDGenerator that returns the prefix and a number.
func numbered() dynamic.IDGenerator {
	var n atomic.Int64
	return func(prefix string) string { return fmt.Sprintf("%s%012d", prefix, n.Add(1)) }
}

func TestNewID(t *testing.T) {
	t.Parallel()
	assert.Regexp(t, `^SRV_[a-zA-Z0-9]{12}$`, dynamic.NewID(dynamic.ServerIDPrefix))
	assert.Regexp(t, `^[a-zA-Z0-9]{12}$`, dynamic.NewID(""))
	first := dynamic.NewID("x")
	assert.NotEqual(t, first, dynamic.NewID("x"))
}

func TestWithIDGenerator_EveryID(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newFlowWorld(t, b, echoFlow)
	server := w.newServer(t, dynamic.WithIDGenerator(numbered()))
	assert.Equal(t, "SRV_000000000001", server.ID())
	conn := w.newConn(t, dynamic.WithIDGenerator(numbered()))
	assert.Equal(t, "CLI_000000000001", conn.ID())

	var ids []string
	for range 2 {
		_, err := textClient(t, conn, "streams.Flows/Ask").Call(t.Context(), say("hi"))
		require.NoError(t, err)
	}
	for _, request := range b.sentRequests(t) {
		ids = append(ids, string(request.RequestID))
	}
	assert.Equal(t, []string{"REQ_000000000002", "REQ_000000000003"}, ids)

	stream, err := textClient(t, conn, flow).OpenStream(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(say("hi")))
	requireText(t, "hi", stream.Channel())
	require.NoError(t, stream.Close(nil))
	opened := false
	for _, sent := range b.sent() {
		envelope, err := wire.ParseEnvelope(sent.frame)
		require.NoError(t, err)
		if envelope.Kind != wire.KindStream {
			continue
		}
		frame, err := wire.ParseStream(envelope.Value)
		require.NoError(t, err)
		assert.Equal(t, "STR_000000000005", string(frame.StreamID))
		if frame.Op == wire.StreamOpen {
			opened = true
			assert.Equal(t, "REQ_000000000004", string(frame.RequestID))
		}
	}
	assert.True(t, opened)
}

func TestWithIDGenerator_Precedence(t *testing.T) {
	t.Parallel()
	b, reg := bus.NewLocal(), newRegistry(t)
	assert.Equal(t, "me", dynamic.NewServer(b, dynamic.WithServerID("me"), dynamic.WithIDGenerator(numbered())).ID())
	assert.Regexp(t, "^SRV_", dynamic.NewServer(b, dynamic.WithIDGenerator(nil)).ID())
	conn, err := dynamic.NewConn(b, reg, dynamic.WithIDGenerator(numbered()), dynamic.WithClientID("you"))
	require.NoError(t, err)
	assert.Equal(t, "you", conn.ID())
	require.NoError(t, conn.Close())
}

func TestWithIDGenerator_InvalidOwnID(t *testing.T) {
	t.Parallel()
	b, reg := bus.NewLocal(), newRegistry(t)
	for _, invalid := range []string{"", "with space", "dot.", "star*", "ü", "\xff", strings.Repeat("x", 65), "{", "@", "\x00"} {
		option := dynamic.WithIDGenerator(func(string) string { return invalid })
		_, err := dynamic.NewConn(b, reg, option)
		requireCode(t, errors.InvalidArgument, err)
		require.ErrorContains(t, err, "WithIDGenerator")
		_, err = dynamic.NewServer(b, option).Register(descriptor(t, reg, "test.Echoes"), nil, dynamic.AllowMissing())
		requireCode(t, errors.InvalidArgument, err)
	}
	for _, valid := range []string{"a", "Z-9_", strings.Repeat("x", 64)} {
		conn, err := dynamic.NewConn(b, reg, dynamic.WithIDGenerator(func(string) string { return valid }))
		require.NoError(t, err)
		assert.Equal(t, valid, conn.ID())
		require.NoError(t, conn.Close())
	}
}

// TestWithIDGenerator_InvalidRequestID checks that calls work even if every ID from the generator
// is invalid for a request.
func TestWithIDGenerator_InvalidRequestID(t *testing.T) {
	t.Parallel()
	log := &capturedLog{}
	w := newFlowWorld(t, newFakeBus(), echoFlow)
	for _, invalid := range []string{"", "REQ_1", "REQ_00000000000*", strings.Repeat("x", 1000)} {
		conn := w.newConn(t, dynamic.WithClientID("CLI_ids"), dynamic.WithLogger(slog.New(log)),
			dynamic.WithIDGenerator(func(string) string { return invalid }))
		for range 3 {
			_, err := textClient(t, conn, "streams.Flows/Ask").Call(t.Context(), say("hi"))
			require.NoError(t, err)
		}
		require.NoError(t, conn.Close())
	}
	lines := log.errors()
	require.GreaterOrEqual(t, len(lines), 4, "one for each conn")
	assert.LessOrEqual(t, len(lines[len(lines)-1]["id"].(string)), 200)
}

// TestWithIDGenerator_StreamIDInUse checks that a stream cannot be opened with the ID of another
// open stream, and that the other stream continues.
func TestWithIDGenerator_StreamIDInUse(t *testing.T) {
	t.Parallel()
	requests := numbered()
	conn := newFlowWorld(t, newFakeBus(), echoFlow).newConn(t, dynamic.WithIDGenerator(func(prefix string) string {
		if prefix == dynamic.StreamIDPrefix {
			return prefix + "000000000001"
		}
		return requests(prefix)
	}))
	client := textClient(t, conn, flow)
	first, err := client.OpenStream(t.Context())
	require.NoError(t, err)
	second, err := client.OpenStream(t.Context())
	requireCode(t, errors.AlreadyExists, err)
	assert.Nil(t, second)
	require.NoError(t, first.Send(say("hi")))
	requireText(t, "hi", first.Channel())
	require.NoError(t, first.Close(nil))
}
