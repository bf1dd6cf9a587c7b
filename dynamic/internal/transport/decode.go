package transport

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// Decode parses a frame whose envelope must hold a message of this kind. It reports false and adds one
// to badFrames if the envelope or the message cannot be decoded, or if the message is of another kind.
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

// Decompress returns the value of an envelope as it was before psrpc compressed it, if it did. That is as large as a
// frame may be, no larger.
func Decompress(value []byte, maxFrameSize int) ([]byte, error) {
	if maxFrameSize <= 0 {
		maxFrameSize = bus.DefaultMaxFrameSize
	}
	return wire.Decompress(value, maxFrameSize)
}
