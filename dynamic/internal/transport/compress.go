package transport

import (
	"bytes"
	"compress/gzip"
	"context"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// DefaultCompressionThreshold is the default of Compression.Threshold, in bytes.
const DefaultCompressionThreshold = 1024

// Compression determines which frames are compressed, and how.
type Compression struct {
	// Level is a compression level of package compress/gzip. If it is gzip.NoCompression, which is
	// zero, no frame is compressed.
	Level int
	// Threshold is the minimum size, in bytes, of inner messages that are compressed. If it is zero
	// or negative, DefaultCompressionThreshold is used.
	Threshold int
}

// Valid reports whether package compress/gzip accepts the level.
func (c Compression) Valid() bool {
	_, err := gzip.NewWriterLevel(nil, c.Level)
	return err == nil
}

// compressingBus is a bus that compresses inner messages: the messages in the envelopes of the
// frames that it publishes.
type compressingBus struct {
	bus.Bus

	threshold int
	// compressors holds values of type *compressor. They are reused, because a new gzip.Writer
	// allocates about a megabyte.
	compressors sync.Pool
}

// compressor compresses one value after the other.
type compressor struct {
	writer *gzip.Writer
	output bytes.Buffer
}

// CompressFrames returns a bus that compresses the inner messages of large frames before it
// publishes them. If compression is off, CompressFrames returns b itself. The level must be valid.
//
// Only messages that may contain data of the user are compressed: requests, responses, stream
// messages and updates. A message is not compressed if that would not make it smaller, or if a
// receiver with the default Limits would reject it.
func CompressFrames(b bus.Bus, compression Compression) bus.Bus {
	if compression.Level == gzip.NoCompression {
		return b
	}
	compressing := &compressingBus{Bus: b, threshold: compression.Threshold}
	if compressing.threshold <= 0 {
		compressing.threshold = DefaultCompressionThreshold
	}
	compressing.compressors.New = func() any {
		writer, _ := gzip.NewWriterLevel(nil, compression.Level) // fails only if the level is invalid
		return &compressor{writer: writer}
	}
	return compressing
}

// Publish implements bus.Bus.
func (b *compressingBus) Publish(
	ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport,
) error {
	return b.Bus.Publish(ctx, channel, b.compress(frame), report)
}

// compress returns a copy of frame whose inner message is compressed. It returns frame itself if
// the inner message is not to be compressed.
func (b *compressingBus) compress(frame []byte) []byte {
	if len(frame) < b.threshold {
		return frame
	}
	envelope, err := wire.ParseEnvelope(frame)
	if err != nil || !isCompressible(envelope.Kind) || wire.IsCompressed(envelope.Value) {
		return frame
	}
	if size := len(envelope.Value); size < b.threshold || size > DefaultMaxDecompressedSize {
		return frame
	}
	c := b.compressors.Get().(*compressor)
	defer b.compressors.Put(c)
	compressed, err := c.compress(envelope.Value)
	if err != nil || len(compressed) >= len(envelope.Value) || len(envelope.Value) > (Limits{}).maxSize(compressed) {
		return frame
	}
	return wire.ReplaceValue(frame, envelope.Value, compressed)
}

// compress compresses value and returns the gzip stream, which is valid until the next call. No
// error is expected, because writing to a bytes.Buffer never fails.
func (c *compressor) compress(value []byte) ([]byte, error) {
	c.output.Reset()
	c.writer.Reset(&c.output)
	if _, err := c.writer.Write(value); err != nil {
		return nil, err
	}
	if err := c.writer.Close(); err != nil {
		return nil, err
	}
	return c.output.Bytes(), nil
}

// isCompressible reports whether messages of a kind may contain much data of the user.
func isCompressible(kind wire.Kind) bool {
	switch kind {
	case wire.KindRequest, wire.KindResponse, wire.KindStream, wire.KindUnknown:
		return true
	default:
		return false
	}
}
