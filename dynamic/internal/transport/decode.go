package transport

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// Decode decodes the inner message of a frame with parse, which is the Parse function of package
// wire for this kind. It returns false and adds one to badFrames if the envelope or the message is
// malformed, if the message is of another kind, or if it is larger than maxFrameSize bytes after
// decompression. Zero or less stands for bus.DefaultMaxFrameSize.
//
// The message aliases frame, except for a message that was compressed. Decode never panics,
// whatever the frame contains, and may be called concurrently.
func Decode[T any](
	frame []byte, kind wire.Kind, maxFrameSize int, parse func(value []byte) (T, error), badFrames *atomic.Uint64,
) (message T, ok bool) {
	envelope, err := wire.ParseEnvelope(frame)
	if err == nil && envelope.Kind == kind {
		var value []byte
		if value, err = Decompress(envelope.Value, maxFrameSize); err == nil {
			if message, err = parse(value); err == nil {
				return message, true
			}
		}
	}
	badFrames.Add(1)
	return message, false
}

// Decompress returns the value of an envelope, decompressed if it is a gzip stream: psrpc peers may
// compress large values. It returns an error if the stream is damaged, or expands to more than
// maxFrameSize bytes. Zero or less stands for bus.DefaultMaxFrameSize.
func Decompress(value []byte, maxFrameSize int) ([]byte, error) {
	if maxFrameSize <= 0 {
		maxFrameSize = bus.DefaultMaxFrameSize
	}
	return wire.Decompress(value, maxFrameSize)
}
