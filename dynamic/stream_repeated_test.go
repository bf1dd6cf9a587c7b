package dynamic_test

import (
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// repeatingBus returns a bus that delivers each stream message twice.
func repeatingBus(t testing.TB) bus.Bus {
	t.Helper()
	return bustest.NewFaultBus(bus.NewLocal(), 1, bustest.Faults{
		Duplicate: 1, Match: func(_ bus.Channel, frame []byte) bool { return isStreamMessage(t, frame) },
	})
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

// TestStream_RepeatedMessages checks that a message which the bus delivers twice is read once, on
// the client and on the server. The repetition is counted.
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
			// The last message may be read before its repetition arrives.
			require.Eventually(t, func() bool {
				return w.conn.Stats().Duplicated == messages
			}, atOnce, time.Millisecond)
			require.NoError(t, stream.Close(nil))
			requireClosed(t, stream.Channel())
			assert.Equal(t, dynamic.ServerStats{Duplicated: messages}, w.server.Stats())
			assert.Equal(t, dynamic.ConnStats{Duplicated: messages}, w.conn.Stats())
		})
	}
}

// TestStream_SameMessageIDs checks that messages of different streams may have the same ID. The ID
// identifies a message only within its stream.
func TestStream_SameMessageIDs(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, bus.NewLocal(), idle)
	now := time.Now().UnixNano()
	for _, streamID := range []string{"STR_first0000000", "STR_second000000"} {
		p := newFlowClient(t, w.bus, "Direct")
		p.id, p.client = streamID, "CLI_of_"+streamID
		p.frames = p.listen(p.clientChannel(), bus.Broadcast)
		p.openAsClient()
		sent := p.toServer(wire.Stream{RequestID: []byte(peerRequest), SentAt: now, Op: wire.StreamMessage, Body: textBody("hi")})
		requireAck(t, *sent, p.next(wire.StreamAck))
	}
	assert.Zero(t, w.server.Stats().Duplicated)
}

// TestStream_RepeatedOpening checks that a stream is opened only once if the bus delivers the
// opening frame twice, even if the stream has ended before the second delivery.
func TestStream_RepeatedOpening(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handled := make(chan struct{}, 2)
		w := newFlowWorld(t, bus.NewLocal(), func(serverText) error {
			handled <- struct{}{}
			return nil
		})
		p := newFlowClient(t, w.bus, "Direct")
		frame := encode(t, p.frame(wire.Stream{Op: wire.StreamOpen, NodeID: []byte(p.client)}))
		for range 2 {
			p.sendRaw(p.serverChannel(), frame)
			synctest.Wait()
		}
		assert.Len(t, handled, 1)
		p.next(wire.StreamAck)
		p.next(wire.StreamClose)
		assert.Empty(t, p.frames)
		assert.Equal(t, dynamic.ServerStats{Duplicated: 1}, w.server.Stats())
	})
}

// TestServer_RemembersRequestsBesideStreams checks that a server still recognizes a repeated
// request after it has received many stream messages. The test uses a clock that stands still,
// because the server remembers a request for only a few seconds.
func TestServer_RemembersRequestsBesideStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFlowWorld(t, bus.NewLocal(), idle)
		p := newFlowClient(t, w.bus, "Direct")
		responses := p.listen(bus.Channel(wire.ResponseChannel("Flows", peerClient)), bus.Broadcast)
		ask, asked := bus.Channel(wire.RequestChannel("Flows", "Ask", nil, true)), newRequest(peerRequest, "hi")
		asked.AcceptDirect = true
		request := encode(t, asked)
		p.sendRaw(ask, request)
		p.nextResponse(responses)

		p.openAsClient()
		// If the server kept requests and messages in the same cache, so many messages would evict
		// the request.
		for i := range 20_000 {
			// The last character of an ID selects the shard of the cache. It is the same as in the
			// request's ID.
			messageID := fmt.Appendf(nil, "REQ_%011d0", i)
			p.toServer(wire.Stream{RequestID: messageID, Op: wire.StreamMessage, Body: textBody("hi")})
		}
		p.sendRaw(ask, request)
		require.NoError(t, w.server.Shutdown(t.Context()))
		assert.Empty(t, responses)
		assert.EqualValues(t, 1, w.server.Stats().Duplicated)
	})
}
