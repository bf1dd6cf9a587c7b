package transport

import (
	"bytes"
	"compress/gzip"
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// publishedBus is a bus that keeps the last published frame.
type publishedBus struct {
	bus.Bus

	frame []byte
}

func (b *publishedBus) Publish(_ context.Context, _ bus.Channel, frame []byte, _ bus.DeliveryReport) error {
	b.frame = frame
	return nil
}

// publishCompressed publishes a frame through CompressFrames and returns the frame that reaches the
// bus.
func publishCompressed(t testing.TB, compression Compression, frame []byte) []byte {
	t.Helper()
	b := &publishedBus{}
	before := bytes.Clone(frame)
	require.NoError(t, CompressFrames(b, compression).Publish(t.Context(), bus.Channel{}, frame, nil))
	require.Equal(t, before, frame, "the frame of the caller is not modified")
	return b.frame
}

func isCompressed(t testing.TB, frame []byte) bool {
	t.Helper()
	envelope, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	return wire.IsCompressed(envelope.Value)
}

func encoded(t testing.TB, message interface {
	AppendFrame(dst []byte) ([]byte, error)
},
) []byte {
	t.Helper()
	frame, err := message.AppendFrame(nil)
	require.NoError(t, err)
	return frame
}

func TestCompressFrames_Off(t *testing.T) {
	t.Parallel()
	b := &publishedBus{}
	assert.Same(t, b, CompressFrames(b, Compression{}))
	assert.Same(t, b, CompressFrames(b, Compression{Threshold: 1}))
}

// TestCompressFrames_Kinds checks which kinds of messages are compressed, and that compression
// changes nothing else in a frame.
func TestCompressFrames_Kinds(t *testing.T) {
	t.Parallel()
	const size = 5000
	text := []byte(strings.Repeat("x", size))
	body := wire.Body{Raw: text}
	update, err := wire.AppendMessageFrame(nil, body, "test.Update", 42)
	require.NoError(t, err)
	update, err = wire.AppendMetadata(update, map[string]string{"room": "a"})
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		frame      []byte
		compressed bool
	}{
		"request":  {encoded(t, &wire.Request{RequestID: []byte("REQ_1"), Body: body, RoutingKey: "Echo.REQ"}), true},
		"response": {encoded(t, &wire.Response{RequestID: []byte("REQ_1"), Error: string(text)}), true},
		"stream":   {encoded(t, &wire.Stream{StreamID: []byte("STR_1"), Op: wire.StreamMessage, Body: body}), true},
		"update":   {update, true},
		"claim":    {encoded(t, &wire.ClaimRequest{RequestID: text}), false},
		"grant":    {encoded(t, &wire.ClaimResponse{RequestID: text}), false},
		"cancel":   {encoded(t, &wire.Cancel{RequestID: text}), false},
		"discover": {encoded(t, &wire.Discover{ClientID: text}), false},
		"no frame": {text, false},
	} {
		for _, level := range []int{gzip.HuffmanOnly, gzip.DefaultCompression, gzip.BestSpeed, gzip.BestCompression} {
			got := publishCompressed(t, Compression{Level: level}, tt.frame)
			if !tt.compressed {
				assert.Equal(t, tt.frame, got, name)
				continue
			}
			assert.Less(t, len(got), size, name)
			require.True(t, isCompressed(t, got), name)
			want, err := wire.ParseEnvelope(tt.frame)
			require.NoError(t, err)
			envelope, err := wire.ParseEnvelope(got)
			require.NoError(t, err)
			envelope.Value, err = Decompress(envelope.Value, Limits{})
			require.NoError(t, err)
			assert.Equal(t, want, envelope, name)
			assert.Equal(t, wire.InspectQueueFrame(tt.frame).Unique, wire.InspectQueueFrame(got).Unique, name)
		}
	}
}

func TestCompressFrames_Size(t *testing.T) {
	t.Parallel()
	random := func(size int) []byte {
		value := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{}).Read(value)
		return value
	}
	frameOf := func(value []byte) []byte {
		frame, err := wire.AppendMessageFrame(nil, wire.Body{Raw: value}, "test.Update", 0)
		require.NoError(t, err)
		return frame
	}
	for name, tt := range map[string]struct {
		threshold  int
		value      []byte
		compressed bool
	}{
		"default threshold":           {0, make([]byte, DefaultCompressionThreshold), true},
		"below the default threshold": {0, make([]byte, DefaultCompressionThreshold-1), false},
		"negative threshold":          {-1, make([]byte, DefaultCompressionThreshold-1), false},
		"own threshold":               {50, make([]byte, 50), true},
		"below the own threshold":     {50, make([]byte, 49), false},
		"empty":                       {1, nil, false},
		"random":                      {1, random(5000), false},
		// Receivers reject values that expand to more than 2 MiB at a ratio above 256.
		"high ratio":     {1, make([]byte, anyRatio), true},
		"too high ratio": {1, make([]byte, anyRatio+1), false},
		"large":          {1, append(random(1<<20), make([]byte, 8<<20)...), true},
		"too large":      {1, append(random(1<<20), make([]byte, DefaultMaxDecompressedSize)...), false},
	} {
		frame := frameOf(tt.value)
		got := publishCompressed(t, Compression{Level: gzip.BestSpeed, Threshold: tt.threshold}, frame)
		assert.Equal(t, tt.compressed, isCompressed(t, got), name)
		if !tt.compressed {
			assert.Equal(t, frame, got, name)
			continue
		}
		envelope, err := wire.ParseEnvelope(got)
		require.NoError(t, err)
		value, err := Decompress(envelope.Value, Limits{})
		require.NoError(t, err, "a receiver with the default limits accepts every frame: %s", name)
		assert.True(t, bytes.Equal(tt.value, value), name)
	}
}

func TestCompression_Valid(t *testing.T) {
	t.Parallel()
	for level, valid := range map[int]bool{
		gzip.HuffmanOnly - 1: false, gzip.HuffmanOnly: true, gzip.DefaultCompression: true, gzip.NoCompression: true,
		gzip.BestSpeed: true, gzip.BestCompression: true, gzip.BestCompression + 1: false,
	} {
		assert.Equal(t, valid, Compression{Level: level}.Valid(), level)
	}
}

// FuzzCompressFrames compresses arbitrary frames. A receiver must get the same message, or the same
// bytes if the frame is malformed.
func FuzzCompressFrames(f *testing.F) {
	body := wire.Body{Raw: make([]byte, 100)}
	f.Add(encoded(f, &wire.Request{RequestID: []byte("REQ_1"), Body: body, RoutingKey: "Echo.REQ"}))
	f.Add(encoded(f, &wire.Stream{StreamID: []byte("STR_1"), Op: wire.StreamMessage, Body: body}))
	f.Add([]byte("\x12\x01a\x12\x01b"))
	compressed, err := wire.AppendMessageFrame(nil, wire.Body{Raw: gzipped(f, make([]byte, 5000))}, "test.Update", 0)
	require.NoError(f, err)
	f.Add(compressed)
	f.Add([]byte("\xff"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		got := publishCompressed(t, Compression{Level: gzip.BestSpeed, Threshold: 1}, frame)
		want, err := wire.ParseEnvelope(frame)
		if err != nil {
			require.Equal(t, frame, got)
			return
		}
		envelope, err := wire.ParseEnvelope(got)
		require.NoError(t, err)
		if !wire.IsCompressed(want.Value) {
			envelope.Value, err = Decompress(envelope.Value, Limits{})
			require.NoError(t, err)
		}
		require.Equal(t, want, envelope)
	})
}
