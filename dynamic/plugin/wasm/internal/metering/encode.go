package metering

import "encoding/binary"

// header is the magic number and the version at the start of every WebAssembly module.
const header = "\x00asm\x01\x00\x00\x00"

// appendUvarint appends a number in unsigned LEB128.
func appendUvarint(to []byte, number uint64) []byte { return binary.AppendUvarint(to, number) }

// appendVarint appends a number in signed LEB128. binary.AppendVarint cannot be used because it
// uses the zigzag encoding.
func appendVarint(to []byte, number int64) []byte {
	for number < -0x40 || number >= 0x40 {
		to = append(to, byte(number&0x7f|0x80)) //nolint:gosec // the low 7 bits
		number >>= 7
	}
	return append(to, byte(number&0x7f))
}

// appendSized appends the length of a part and then the part.
func appendSized(to, part []byte) []byte {
	return append(appendUvarint(to, uint64(len(part))), part...)
}

// appendName appends the length of a name and then the name.
func appendName(to []byte, name string) []byte { return appendSized(to, []byte(name)) }
