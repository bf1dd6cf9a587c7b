package wire_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

func compress(t testing.TB, data []byte) []byte {
	t.Helper()
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return compressed.Bytes()
}

func randomBytes(size int) []byte {
	data, random := make([]byte, size), rand.New(rand.NewPCG(1, 2))
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

func TestDecompress_Sizes(t *testing.T) {
	t.Parallel()
	const limit = 1 << 18
	for _, size := range []int{0, 1, 7, 512, 513, 100_000, limit} {
		for _, data := range [][]byte{make([]byte, size), randomBytes(size)} {
			got, err := wire.Decompress(compress(t, data), limit)
			require.NoError(t, err, size)
			assert.True(t, bytes.Equal(data, got), size)
		}
	}
	_, err := wire.Decompress(compress(t, make([]byte, limit+1)), limit)
	require.ErrorContains(t, err, "larger than the limit")
}

// bombSize is the decompressed size of decompression bombs. Compressed, they are a thousand times
// smaller.
const bombSize = 4 << 20

// TestDecompress_LyingSize checks that decompression stops at the declared size.
func TestDecompress_LyingSize(t *testing.T) {
	t.Parallel()
	const limit = bombSize + 1<<20
	bomb := compress(t, make([]byte, bombSize))
	for _, claimed := range []uint32{0, 1, 1000, limit, 1<<32 - 1} {
		lying := bytes.Clone(bomb)
		binary.LittleEndian.PutUint32(lying[len(lying)-4:], claimed)
		_, err := wire.Decompress(lying, limit)
		require.Error(t, err, claimed)
	}
}

// TestDecompress_BombIsNotExpanded checks that a decompression bomb costs less memory than its
// content. It counts allocations and is therefore not parallel.
func TestDecompress_BombIsNotExpanded(t *testing.T) {
	const limit = 1000
	honest := compress(t, make([]byte, bombSize))
	lying := bytes.Clone(honest)
	binary.LittleEndian.PutUint32(lying[len(lying)-4:], limit)
	for name, bomb := range map[string][]byte{"honest": honest, "lying": lying} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := wire.Decompress(bomb, limit)
		runtime.ReadMemStats(&after)
		require.ErrorContains(t, err, "larger", name)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), name)
	}
}

func TestDecompress_NotGzip(t *testing.T) {
	t.Parallel()
	for name, value := range map[string][]byte{
		"nothing":       nil,
		"half of magic": []byte("\x1f"),
		"other bytes":   []byte("something else altogether"),
		"a message":     fields{}.bytes(1, "id").bytes(2, "some value"),
	} {
		got, err := wire.Decompress(value, 1)
		require.NoError(t, err, name)
		assert.Equal(t, value, got, name)
	}
}

func TestDecompress_Damaged(t *testing.T) {
	t.Parallel()
	valid := compress(t, []byte("some text to compress"))
	for name, value := range map[string][]byte{
		"magic alone":  []byte("\x1f\x8b"),
		"damaged head": append([]byte("\x1f\x8b\xff"), valid[3:]...),
		"damaged data": append(append(bytes.Clone(valid[:12]), 0xff, 0xff), valid[14:]...),
		"bad checksum": append(append(bytes.Clone(valid[:len(valid)-8]), 1, 2, 3, 4), valid[len(valid)-4:]...),
		"two streams":  append(bytes.Clone(valid), compress(t, []byte("more"))...),
	} {
		_, err := wire.Decompress(value, 1<<20)
		require.Error(t, err, name)
	}
	for length := 2; length < len(valid); length++ {
		_, err := wire.Decompress(valid[:length], 1<<20)
		require.Error(t, err, length)
	}
}

// TestDecompress_NoMessageLooksCompressed checks that parsers reject every value that Decompress
// considers to be compressed.
func TestDecompress_NoMessageLooksCompressed(t *testing.T) {
	t.Parallel()
	for _, data := range [][]byte{nil, []byte("text"), fields{}.bytes(1, "id"), randomBytes(1000)} {
		for kind := range schemaName {
			_, err := parse(kind, compress(t, data))
			require.Error(t, err, schemaName[kind])
		}
	}
}

// FuzzDecompress passes arbitrary bytes to Decompress. It checks that the result of decompression
// is within the limit, that other values are returned unchanged, and that compressed data is
// restored.
func FuzzDecompress(f *testing.F) {
	f.Add([]byte("some text"), 5)
	f.Add(compress(f, []byte("some text")), 9)
	f.Add(compress(f, make([]byte, 100_000)), 1000)
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), 1000)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		limit = max(0, min(limit, 1<<20))
		if got, err := wire.Decompress(data, limit); err == nil {
			if bytes.HasPrefix(data, []byte("\x1f\x8b")) {
				require.LessOrEqual(t, len(got), limit)
			} else {
				require.True(t, bytes.Equal(data, got))
			}
		}
		got, err := wire.Decompress(compress(t, data), limit)
		if len(data) > limit {
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
	})
}
