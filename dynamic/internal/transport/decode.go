package transport

import (
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// errWrongKind is the error for a frame whose kind of message does not belong on its channel.
var errWrongKind = errors.New("the frame contains another kind of message than expected on this channel")

// Decode parses the envelope of a frame and decodes the message in it. kind is the expected kind of
// message, and parse is the Parse function of package wire for this kind. Decode returns an error
// if the frame is malformed, of another kind, or larger than the limits allow after decompression.
//
// If the message was not compressed, it shares memory with frame, and expanded is 0. Otherwise,
// expanded is the number of bytes that the decompressed message keeps in memory. Decode never
// panics, whatever the frame contains. It is safe for concurrent use.
func Decode[T any](
	frame []byte, kind wire.Kind, limits Limits, parse func(value []byte) (T, error),
) (message T, expanded int, err error) {
	envelope, err := wire.ParseEnvelope(frame)
	if err != nil {
		return message, 0, err
	}
	if envelope.Kind != kind {
		return message, 0, errWrongKind
	}
	if isControl(kind) && (limits.MaxSize <= 0 || limits.MaxSize > maxControlSize) {
		limits.MaxSize = maxControlSize
	}
	value, err := Decompress(envelope.Value, limits)
	if err != nil {
		return message, 0, err
	}
	if message, err = parse(value); err != nil {
		return message, 0, err
	}
	if wire.IsCompressed(envelope.Value) {
		expanded = len(value)
	}
	return message, expanded, nil
}

// maxControlSize is the maximum decompressed size, in bytes, of claims, grants and cancellations.
// They contain little more than IDs. The limit is low because a call keeps its claims in memory
// until the call ends.
const maxControlSize = 64 << 10

// isControl reports whether kind is the kind of claims, grants or cancellations. These messages
// contain no data of the user.
func isControl(kind wire.Kind) bool {
	return kind == wire.KindClaimRequest || kind == wire.KindClaimResponse || kind == wire.KindCancel
}

const (
	// DefaultMaxDecompressedSize is the default of Limits.MaxSize, in bytes.
	DefaultMaxDecompressedSize = 16 << 20
	// DefaultMaxRatio is the default of Limits.MaxRatio.
	DefaultMaxRatio = 256
	// anyRatio is the maximum size, in bytes, of decompressed values to which MaxRatio does not
	// apply. Small values that repeat the same bytes often have a high ratio.
	anyRatio = 2 << 20
)

// Limits limits the size that a compressed value may have after decompression. The zero Limits
// stands for the default limits.
type Limits struct {
	// MaxSize is the maximum size of the decompressed value in bytes.
	MaxSize int
	// MaxRatio is the maximum size of the decompressed value divided by that of the compressed one.
	// It does not apply to values that are at most 2 MiB large after decompression.
	MaxRatio int
}

// Decompress returns the value of an envelope. If the value is a gzip stream, Decompress
// decompresses it, because peers may compress large values. It returns an error if the stream is
// corrupt or if the decompressed value is larger than the limits allow.
func Decompress(value []byte, limits Limits) ([]byte, error) {
	if !wire.IsCompressed(value) {
		return value, nil
	}
	return wire.Decompress(value, limits.maxSize(value))
}

// maxSize returns the maximum size, in bytes, that a compressed value may have after decompression.
func (l Limits) maxSize(compressed []byte) int {
	maxSize, maxRatio := l.MaxSize, l.MaxRatio
	if maxSize <= 0 {
		maxSize = DefaultMaxDecompressedSize
	}
	if maxRatio <= 0 {
		maxRatio = DefaultMaxRatio
	}
	// A ratio of maxSize or more has no effect, and multiplying by it could overflow.
	if maxRatio < maxSize {
		maxSize = min(maxSize, max(anyRatio, maxRatio*len(compressed)))
	}
	return maxSize
}
