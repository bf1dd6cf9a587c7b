package transport

import (
	"bytes"
	"compress/gzip"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

func cancelFrame(t testing.TB) []byte {
	t.Helper()
	frame, err := (&wire.Cancel{RequestID: []byte("REQ_1")}).AppendFrame(nil)
	require.NoError(t, err)
	return frame
}

// gzipped returns value in the gzip format, which psrpc peers use to compress frames.
func gzipped(t testing.TB, value []byte) []byte {
	t.Helper()
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, err := w.Write(value)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return compressed.Bytes()
}

func TestDecode_GoodFrame(t *testing.T) {
	t.Parallel()
	cancel, _, err := Decode(cancelFrame(t), wire.KindCancel, Limits{}, wire.ParseCancel)
	require.NoError(t, err)
	assert.Equal(t, "REQ_1", string(cancel.RequestID))
}

// Decode returns an error for each kind of bad frame.
func TestDecode_BadFrame(t *testing.T) {
	t.Parallel()
	frame := cancelFrame(t)
	failing := func([]byte) (wire.Cancel, error) { return wire.Cancel{}, errors.New("malformed message") }
	for name, tt := range map[string]struct {
		frame []byte
		kind  wire.Kind
		parse func([]byte) (wire.Cancel, error)
	}{
		"empty":             {nil, wire.KindCancel, wire.ParseCancel},
		"no envelope":       {[]byte("\xff\xff"), wire.KindCancel, wire.ParseCancel},
		"truncated":         {frame[:len(frame)-1], wire.KindCancel, wire.ParseCancel},
		"another kind":      {frame, wire.KindRequest, wire.ParseCancel},
		"malformed message": {frame, wire.KindCancel, failing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := Decode(tt.frame, tt.kind, Limits{}, tt.parse)
			require.Error(t, err)
		})
	}
}

func TestDecompress_Limit(t *testing.T) {
	t.Parallel()
	value := bytes.Repeat([]byte{'x'}, 1000)
	for _, maxFrameSize := range []int{-1, 0, len(value)} {
		decompressed, err := Decompress(gzipped(t, value), Limits{MaxSize: maxFrameSize})
		require.NoError(t, err)
		assert.Equal(t, value, decompressed)
	}
	_, err := Decompress(gzipped(t, value), Limits{MaxSize: len(value) - 1})
	require.Error(t, err)
	plain, err := Decompress(value, Limits{MaxSize: 1})
	require.NoError(t, err, "a value that is not compressed came in a frame of acceptable size")
	assert.Equal(t, value, plain)
}

// FuzzDecode decodes arbitrary frames as every kind of frame. Decode must not panic, and at most
// one kind may accept a frame.
func FuzzDecode(f *testing.F) {
	frame := cancelFrame(f)
	f.Add(frame, 0)
	f.Add(frame[:len(frame)-1], 0)
	f.Add([]byte{}, 0)
	f.Add([]byte("\x1f\x8b"), 1)
	for _, encoder := range []interface {
		AppendFrame(dst []byte) ([]byte, error)
	}{
		&wire.Request{RequestID: []byte("REQ_1"), ClientID: []byte("CLI_1"), SentAt: 1, Expiry: 2},
		&wire.Response{RequestID: []byte("REQ_1"), Code: "internal", Error: "failed"},
		&wire.ClaimRequest{RequestID: []byte("REQ_1"), ServerID: []byte("SRV_1"), Affinity: 0.5},
		&wire.ClaimResponse{RequestID: []byte("REQ_1"), ServerID: []byte("SRV_1")},
		&wire.Stream{StreamID: []byte("STR_1"), RequestID: []byte("REQ_1"), Op: wire.StreamPing},
	} {
		frame, err := encoder.AppendFrame(nil)
		require.NoError(f, err)
		f.Add(frame, 1<<20)
	}
	f.Fuzz(func(t *testing.T, frame []byte, maxFrameSize int) {
		maxFrameSize = min(maxFrameSize, 1<<20)
		accepted := 0
		count := func(err error) {
			if err == nil {
				accepted++
			}
		}
		_, _, err := Decode(frame, wire.KindRequest, Limits{MaxSize: maxFrameSize}, wire.ParseRequest)
		count(err)
		_, _, err = Decode(frame, wire.KindResponse, Limits{MaxSize: maxFrameSize}, wire.ParseResponse)
		count(err)
		_, _, err = Decode(frame, wire.KindClaimRequest, Limits{MaxSize: maxFrameSize}, wire.ParseClaimRequest)
		count(err)
		_, _, err = Decode(frame, wire.KindClaimResponse, Limits{MaxSize: maxFrameSize}, wire.ParseClaimResponse)
		count(err)
		_, _, err = Decode(frame, wire.KindStream, Limits{MaxSize: maxFrameSize}, wire.ParseStream)
		count(err)
		_, _, err = Decode(frame, wire.KindCancel, Limits{MaxSize: maxFrameSize}, wire.ParseCancel)
		count(err)
		require.LessOrEqual(t, accepted, 1)
	})
}

// Decompressed values may be large, and may compress well. However, a small frame must not become
// a large value.
func TestDecompress_Ratio(t *testing.T) {
	t.Parallel()
	// mixed returns a value of size bytes that compresses to about 1/ratio of its size.
	mixed := func(size, ratio int) []byte {
		value, random := make([]byte, size), rand.NewChaCha8([32]byte{})
		_, _ = random.Read(value[:size/ratio])
		return value
	}
	for _, size := range []int{1000, 100_000, 4 << 20} {
		for _, ratio := range []int{10, 200} {
			compressed := gzipped(t, mixed(size, ratio))
			value, err := Decompress(compressed, Limits{})
			require.NoError(t, err, "%d bytes of %d", len(compressed), size)
			assert.Len(t, value, size)
		}
	}
	zeros := gzipped(t, make([]byte, anyRatio))
	_, err := Decompress(zeros, Limits{MaxRatio: 1})
	require.NoError(t, err)
	zeros = gzipped(t, make([]byte, anyRatio+1))
	_, err = Decompress(zeros, Limits{})
	require.Error(t, err)
	_, err = Decompress(zeros, Limits{MaxRatio: math.MaxInt})
	require.NoError(t, err)
	_, err = Decompress(gzipped(t, mixed(DefaultMaxDecompressedSize+1, 200)), Limits{})
	require.Error(t, err)
}

func TestBudget(t *testing.T) {
	t.Parallel()
	b := Budget{Max: 10}
	assert.True(t, b.TryTake(10))
	assert.True(t, b.TryTake(0), "not compressed")
	for range 3 {
		assert.False(t, b.TryTake(1))
	}
	b.Release(4)
	b.Release(0)
	assert.True(t, b.TryTake(4))
	assert.False(t, b.TryTake(1))
}
