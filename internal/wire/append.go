package wire

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var errInvalidText = errors.New("cannot encode frame: an id or metadata is not valid UTF-8")

// The size functions return how many bytes the append function of the same
// name will write. A zero number and empty bytes are proto3 defaults and take
// no space; a message is written even when it is empty.

func sizeVarint(tag, value uint64) int {
	if value == 0 {
		return 0
	}
	return protowire.SizeVarint(tag) + protowire.SizeVarint(value)
}

func appendVarint(dst []byte, tag, value uint64) []byte {
	if value == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendVarint(dst, tag), value)
}

func sizeBytes(tag uint64, length int) int {
	if length == 0 {
		return 0
	}
	return sizeLengthDelimited(tag, length)
}

func appendBytes[T string | []byte](dst []byte, tag uint64, value T) []byte {
	if len(value) == 0 {
		return dst
	}
	return append(appendTagAndLength(dst, tag, len(value)), value...)
}

func sizeLengthDelimited(tag uint64, length int) int {
	return protowire.SizeVarint(tag) + protowire.SizeBytes(length)
}

// appendTagAndLength appends tag and length of a length-delimited field.
func appendTagAndLength(dst []byte, tag uint64, length int) []byte {
	return protowire.AppendVarint(protowire.AppendVarint(dst, tag), uint64(length))
}

func validText(texts ...[]byte) bool {
	for _, text := range texts {
		if !utf8.Valid(text) {
			return false
		}
	}
	return true
}
