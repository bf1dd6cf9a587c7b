package transport

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// Decode parses the envelope of a frame and then decodes the message in the envelope. The function
// parse must be the Parse function of package wire for the given kind of message. Decode returns
// false and increments badFrames in the following cases: the envelope or the message is malformed;
// the message is of a different kind; the message is larger than maxFrameSize bytes after
// decompression. If maxFrameSize is zero or negative, bus.DefaultMaxFrameSize is used.
//
// If the message was not compressed, it shares memory with frame. Decode never panics, whatever the
// frame contains. It is safe for concurrent use.
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

// Decompress returns the value of an envelope. If the value is a gzip stream, Decompress
// decompresses it, because psrpc peers may compress large values. It returns an error if the stream
// is corrupt or if the decompressed value is larger than maxFrameSize bytes. If maxFrameSize is
// zero or negative, bus.DefaultMaxFrameSize is used.
func Decompress(value []byte, maxFrameSize int) ([]byte, error) {
	if maxFrameSize <= 0 {
		maxFrameSize = bus.DefaultMaxFrameSize
	}
	return wire.Decompress(value, maxFrameSize)
}
