package dynamic_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// repeatingBus delivers each message of a stream twice.
func repeatingBus(t testing.TB) *fakeBus {
	t.Helper()
	b := newFakeBus()
	b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.Report) error {
		if isStreamMessage(t, frame) {
			if err := b.Bus.Publish(ctx, channel, frame, nil); err != nil {
				return err
			}
		}
		return b.Bus.Publish(ctx, channel, frame, report)
	}
	return b
}

func isStreamMessage(t testing.TB, frame []byte) bool {
	t.Helper()
	envelope, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	if envelope.Kind != wire.KindStream {
		return false
	}
	stream, err := wire.ParseStream(envelope.Value)
	require.NoError(t, err)
	return stream.Op == wire.StreamMessage
}

// TestStream_RepeatedMessages: a message that the bus delivers twice is read once, on either side, and counted.
func TestStream_RepeatedMessages(t *testing.T) {
	t.Parallel()
	const messages = 100
	for name, opts := range map[string][]dynamic.RequestOption{"one at a time": nil, "window": {dynamic.WithStreamWindow(10)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFlowWorld(t, repeatingBus(t), echoFlow)
			stream := w.open(t, flow, opts...)
			for i := range messages {
				require.NoError(t, stream.Send(say(strconv.Itoa(i))))
				requireText(t, strconv.Itoa(i), stream.Channel())
			}
			require.NoError(t, stream.Close(nil))
			requireClosed(t, stream.Channel())
			assert.Equal(t, dynamic.ServerStats{Repeated: messages}, w.server.Stats())
			assert.Equal(t, dynamic.ConnStats{Repeated: messages}, w.conn.Stats())
		})
	}
}
