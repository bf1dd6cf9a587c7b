package dynamic

import (
	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// decodeFrame returns the encoded message in a frame, which must be of this kind.
func decodeFrame(frame []byte, kind wire.Kind, maxFrameSize int) (value []byte, ok bool) {
	envelope, err := wire.ParseEnvelope(frame)
	if err != nil || envelope.Kind != kind {
		return nil, false
	}
	value, err = decompress(envelope.Value, maxFrameSize)
	return value, err == nil
}

// decompress returns the value of an envelope as it was before psrpc compressed it, if it did. That is as large as a
// frame may be, no larger.
func decompress(value []byte, maxFrameSize int) ([]byte, error) {
	if maxFrameSize <= 0 {
		maxFrameSize = bus.DefaultMaxFrameSize
	}
	return wire.Decompress(value, maxFrameSize)
}
