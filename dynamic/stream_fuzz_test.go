package dynamic_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// FuzzStream_Frame sends stream frames with arbitrary content to both sides. New streams must
// still work afterwards.
func FuzzStream_Frame(f *testing.F) {
	known := wire.Stream{StreamID: []byte("STR_fuzz"), RequestID: []byte("REQ_fuzz"), SentAt: 1, Expiry: 1 << 62}
	for _, op := range []wire.StreamOp{
		wire.StreamNone, wire.StreamOpen, wire.StreamMessage, wire.StreamAck, wire.StreamClose, wire.StreamPing,
	} {
		seed := known
		seed.Op, seed.NodeID, seed.Body = op, []byte("CLI_test"), textBody("hi")
		envelope, err := wire.ParseEnvelope(encode(f, &seed))
		require.NoError(f, err)
		f.Add(envelope.Value)
	}
	w := newFlowWorld(f, bus.NewLocal(), echoFlow)
	client := textClient(f, w.conn, directFlow)
	f.Fuzz(func(t *testing.T, value []byte) {
		frame := protowire.AppendTag(nil, 1, protowire.BytesType)
		frame = protowire.AppendString(frame, "type.googleapis.com/internal.Stream")
		frame = protowire.AppendTag(frame, 2, protowire.BytesType)
		frame = protowire.AppendBytes(frame, value)
		p := peer{t, w.bus}
		p.sendRaw(bus.Channel(wire.StreamServerChannel("Flows", "Direct", nil)), frame)
		p.sendRaw(bus.Channel(wire.StreamClientChannel("Flows", "CLI_test")), frame)
		stream, err := client.OpenStream(t.Context())
		require.NoError(t, err)
		require.NoError(t, stream.Send(say("hi")))
		requireText(t, "hi", stream.Channel())
		require.NoError(t, stream.Close(nil))
	})
}
