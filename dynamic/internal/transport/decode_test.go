package transport

import (
	"bytes"
	"compress/gzip"
	"sync/atomic"
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

// gzipped returns value compressed, as psrpc peers do.
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
	var badFrames atomic.Uint64
	cancel, ok := Decode(cancelFrame(t), wire.KindCancel, 0, wire.ParseCancel, &badFrames)
	assert.True(t, ok)
	assert.Equal(t, "REQ_1", string(cancel.RequestID))
	assert.Zero(t, badFrames.Load())
}

// Each bad frame is counted once and not decoded.
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
			var badFrames atomic.Uint64
			_, ok := Decode(tt.frame, tt.kind, 0, tt.parse, &badFrames)
			assert.False(t, ok)
			assert.EqualValues(t, 1, badFrames.Load())
		})
	}
}

func TestDecompress_Limit(t *testing.T) {
	t.Parallel()
	value := bytes.Repeat([]byte{'x'}, 1000)
	for _, maxFrameSize := range []int{-1, 0, len(value)} {
		decompressed, err := Decompress(gzipped(t, value), maxFrameSize)
		require.NoError(t, err)
		assert.Equal(t, value, decompressed)
	}
	_, err := Decompress(gzipped(t, value), len(value)-1)
	require.Error(t, err)
	plain, err := Decompress(value, 1)
	require.NoError(t, err, "a value that is not compressed came in a frame of acceptable size")
	assert.Equal(t, value, plain)
}

// FuzzDecode decodes arbitrary frames as each kind. Decode must not panic, must count exactly the
// frames that it rejects, and must accept a frame as one kind at most.
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
		var badFrames atomic.Uint64
		accepted := 0
		count := func(ok bool) {
			if ok {
				accepted++
			}
		}
		_, ok := Decode(frame, wire.KindRequest, maxFrameSize, wire.ParseRequest, &badFrames)
		count(ok)
		_, ok = Decode(frame, wire.KindResponse, maxFrameSize, wire.ParseResponse, &badFrames)
		count(ok)
		_, ok = Decode(frame, wire.KindClaimRequest, maxFrameSize, wire.ParseClaimRequest, &badFrames)
		count(ok)
		_, ok = Decode(frame, wire.KindClaimResponse, maxFrameSize, wire.ParseClaimResponse, &badFrames)
		count(ok)
		_, ok = Decode(frame, wire.KindStream, maxFrameSize, wire.ParseStream, &badFrames)
		count(ok)
		_, ok = Decode(frame, wire.KindCancel, maxFrameSize, wire.ParseCancel, &badFrames)
		count(ok)
		require.LessOrEqual(t, accepted, 1)
		require.EqualValues(t, 6-accepted, badFrames.Load())
	})
}
