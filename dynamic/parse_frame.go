package dynamic

import (
	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// parseFrame decodes a frame that must hold a message of this kind.
func parseFrame[M any](
	frame []byte, kind wire.Kind, parse func(value []byte) (M, error), maxFrameSize int,
) (message M, ok bool) {
	envelope, err := wire.ParseEnvelope(frame)
	if err != nil || envelope.Kind != kind {
		return message, false
	}
	message, err = parseValue(envelope.Value, parse, maxFrameSize)
	return message, err == nil
}

// parseValue decodes the value of an envelope, which psrpc may have compressed. A compressed value is never a valid
// message, so one that is valid costs nothing more. What is decompressed is as large as a frame may be, no larger.
func parseValue[M any](value []byte, parse func(value []byte) (M, error), maxFrameSize int) (M, error) {
	message, err := parse(value)
	if err == nil {
		return message, nil
	}
	if maxFrameSize <= 0 {
		maxFrameSize = bus.DefaultMaxFrameSize
	}
	decompressed, notCompressed := wire.Decompress(value, maxFrameSize)
	if notCompressed != nil {
		return message, err
	}
	return parse(decompressed)
}
