package wire

import "google.golang.org/protobuf/encoding/protowire"

// oneByte is the first number whose varint takes more than one byte. Most are less, and for those a call would take longer
// than the work.
const oneByte = 1 << 7

// consumeVarint returns the varint at the start of b and its length, negative if it is malformed.
func consumeVarint(b []byte) (value uint64, n int) {
	if len(b) > 0 && b[0] < oneByte {
		return uint64(b[0]), 1
	}
	return protowire.ConsumeVarint(b)
}

func appendVarint(dst []byte, value uint64) []byte {
	if value < oneByte {
		return append(dst, byte(value))
	}
	return protowire.AppendVarint(dst, value)
}
