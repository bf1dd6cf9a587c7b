package dynamic_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/binary"
	"hash/crc32"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// gzipWriters contains writers to reuse, because a new one allocates much memory.
var gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var compressed bytes.Buffer
	w := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(w)
	w.Reset(&compressed)
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return compressed.Bytes()
}

// gzippedZeros returns a compressed message with an unknown field that contains zeros. It
// compresses one mebibyte and repeats the result, because compressing all of them would take
// seconds.
func gzippedZeros(t testing.TB, mebibytes int) []byte {
	t.Helper()
	size := mebibytes << 20
	head := protowire.AppendVarint(protowire.AppendTag(nil, 15, protowire.BytesType), uint64(size))
	zeros := make([]byte, 1<<20)
	compressed := []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
	compressed = append(compressed, deflated(t, head)...)
	checksum := crc32.ChecksumIEEE(head)
	chunk := deflated(t, zeros)
	for range mebibytes {
		compressed = append(compressed, chunk...)
		checksum = crc32.Update(checksum, crc32.IEEETable, zeros)
	}
	compressed = append(compressed, 0x03, 0x00) // the final deflate block
	compressed = binary.LittleEndian.AppendUint32(compressed, checksum)
	return binary.LittleEndian.AppendUint32(compressed, uint32(len(head)+size))
}

func deflated(t testing.TB, data []byte) []byte {
	t.Helper()
	var compressed bytes.Buffer
	w, err := flate.NewWriter(&compressed, flate.BestSpeed)
	require.NoError(t, err)
	_, err = w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	return compressed.Bytes()
}

// compressFrame returns a copy of a frame with a compressed value. It marks the copy as compressed
// in a field that this library does not know.
func compressFrame(t testing.TB, frame []byte) []byte {
	t.Helper()
	parsed, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	return flagged(envelope(string(parsed.TypeName), gzipped(t, parsed.Value)))
}

func flagged(frame []byte) []byte {
	return protowire.AppendVarint(protowire.AppendTag(frame, 4, protowire.VarintType), 1)
}

// compressingBus returns a bus that compresses every published frame.
func compressingBus(t testing.TB) *fakeBus {
	t.Helper()
	b := newFakeBus()
	b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
		return b.Bus.Publish(ctx, channel, compressFrame(t, frame), report)
	}
	return b
}

// TestCompressed_EveryKindOfCall checks that every kind of call works with peers that compress all
// their frames.
func TestCompressed_EveryKindOfCall(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, compressingBus(t))
	w.registry = newRegistry(t, kindsSource)
	conn, err := dynamic.NewConn(w.bus, w.registry, patientConn)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	registration, err := w.server.Register(descriptor(t, w.registry, "kinds.Fleet"), dynamic.Handlers{
		"Best": identity[text](), "All": identity[text](),
	}, dynamic.AllowMissing())
	require.NoError(t, err)

	response, err := textClient(t, conn, "kinds.Fleet/Best").Call(t.Context(), say("affinity"))
	require.NoError(t, err)
	assert.Equal(t, "affinity", response.GetValue())

	responses, err := textClient(t, conn, "kinds.Fleet/All").CallMulti(t.Context(), say("multi"))
	require.NoError(t, err)
	only := requireSoon(t, responses, "response")
	require.NoError(t, only.Err)
	assert.Equal(t, "multi", only.Result.GetValue())

	news, err := textClient(t, conn, "kinds.Fleet/News").Subscribe(t.Context())
	require.NoError(t, err)
	require.NoError(t, registration.Publish(t.Context(), "News", say("update")))
	requireText(t, "update", news.Channel())

	assert.Equal(t, dynamic.ServerStats{}, w.server.Stats())
	assert.Equal(t, dynamic.ConnStats{}, conn.Stats())
	assert.Zero(t, news.Stats().BadFrames)
}

func TestCompressed_Stream(t *testing.T) {
	t.Parallel()
	w := newFlowWorld(t, compressingBus(t), echoFlow)
	stream := w.open(t, flow)
	require.NoError(t, stream.Send(say("hi")))
	requireText(t, "hi", stream.Channel())
	require.NoError(t, stream.Close(nil))
	assert.Zero(t, w.badFrames())
}

// TestCompressed_Bombs checks that small frames which decompress to large ones are counted and
// dropped on every channel.
func TestCompressed_Bombs(t *testing.T) {
	t.Parallel()
	const limit = 2000
	b := bus.NewLocal()
	w := newWorldOn(t, b, dynamic.WithMaxFrameSize(limit))
	var err error
	require.NoError(t, w.conn.Close())
	w.conn, err = dynamic.NewConn(b, w.registry, patientConn, dynamic.WithClientID("CLI_test"), dynamic.WithMaxFrameSize(limit))
	require.NoError(t, err)
	handler := identity[text]()
	w.serve(t, dynamic.Handlers{"Echo": handler, "Direct": handler, "Best": handler})
	textClient(t, w.conn, echo) // creating a client makes the conn subscribe to its channels
	p := peer{t, b}

	large := protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), make([]byte, limit))
	lying := gzipped(t, large)
	binary.LittleEndian.PutUint32(lying[len(lying)-4:], 10)
	want := uint64(0)
	for kind, channel := range servedChannels() {
		parsed, err := wire.ParseEnvelope(validFrames(t)[kind])
		require.NoError(t, err)
		name := string(parsed.TypeName)
		for _, bomb := range [][]byte{gzipped(t, append(parsed.Value, large...)), lying, []byte("\x1f\x8b"), gzipped(t, []byte{0xff})} {
			p.sendRaw(channel, flagged(envelope(name, bomb)))
			want++
			assert.Equal(t, want, w.badFrames(), name)
		}
		p.sendRaw(channel, compressFrame(t, validFrames(t)[kind]))
		assert.Equal(t, want, w.badFrames(), name)
	}
	w.requireWorking(t)
}

// TestCompressed_DefaultLimit checks that the size of decompressed frames is limited even if no
// option sets a limit.
func TestCompressed_DefaultLimit(t *testing.T) {
	t.Parallel()
	w, p := echoWorld(t)
	const mebibytes = bus.DefaultMaxFrameSize >> 20
	p.sendRaw(requestChannel("Echo"), envelope("internal.Request", gzippedZeros(t, 1)))
	assert.Zero(t, w.badFrames(), "it has expired, that is all")
	p.sendRaw(requestChannel("Echo"), envelope("internal.Request", gzippedZeros(t, mebibytes)))
	assert.EqualValues(t, 1, w.badFrames())
	w.requireWorking(t)
}

func TestCompressed_BadUpdates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.registry = newRegistry(t, kindsSource)
	conn, err := dynamic.NewConn(w.bus, w.registry, patientConn, dynamic.WithMaxFrameSize(1000))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	news, err := textClient(t, conn, "kinds.Fleet/News").Subscribe(t.Context())
	require.NoError(t, err)
	p, channel := peer{t, w.bus}, bus.Channel(wire.RequestChannel("Fleet", "News", nil, false))
	const name = "google.protobuf.StringValue"
	for i, value := range [][]byte{
		gzipped(t, encodedText(t, string(make([]byte, 1000)))), gzipped(t, []byte{0xff}), []byte("\x1f\x8b"),
	} {
		p.sendRaw(channel, flagged(envelope(name, value)))
		assert.EqualValues(t, i+1, news.Stats().BadFrames)
	}
	p.sendRaw(channel, flagged(envelope(name, gzipped(t, encodedText(t, "hi")))))
	requireText(t, "hi", news.Channel())
}

// TestCompressed_NeverSent checks that this library does not compress frames by default, because
// older peers would not understand them.
func TestCompressed_NeverSent(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
	_, err := w.call(t, echo, string(bytes.Repeat([]byte("x"), 100_000)))
	require.NoError(t, err)
	for _, sent := range b.sent() {
		assert.Greater(t, len(sent.frame), 100_000)
	}
}

// FuzzCompressedFrames sends compressed frames with arbitrary content to all channels of the
// server and the client.
func FuzzCompressedFrames(f *testing.F) {
	for _, frame := range validFrames(f) {
		parsed, err := wire.ParseEnvelope(frame)
		require.NoError(f, err)
		f.Add(parsed.Value, gzipped(f, parsed.Value))
	}
	f.Add([]byte{}, []byte("\x1f\x8b"))
	w, _ := echoWorld(f)
	// Some of the fuzzed frames are requests whose grants never arrive. Unlike Shutdown, Kill does
	// not wait for these grants.
	f.Cleanup(w.server.Kill)
	names := map[wire.Kind]string{
		wire.KindRequest: "internal.Request", wire.KindClaimResponse: "internal.ClaimResponse",
		wire.KindClaimRequest: "internal.ClaimRequest", wire.KindResponse: "internal.Response",
	}
	f.Fuzz(func(t *testing.T, value, compressed []byte) {
		p := peer{t, w.bus}
		for kind, channel := range servedChannels() {
			p.sendRaw(channel, envelope(names[kind], gzipped(t, value)))
			p.sendRaw(channel, envelope(names[kind], compressed))
		}
		response, err := w.call(t, echo, "still here")
		require.NoError(t, err)
		require.Equal(t, "still here", response)
	})
}
