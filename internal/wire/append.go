package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var (
	errInvalidText     = errors.New("cannot encode frame: an id or metadata is not valid UTF-8")
	errTooMuchMetadata = errors.New("cannot encode frame: there are more than 1024 metadata entries")
	errTooManyDetails  = errors.New("cannot encode frame: there are more than 1024 error details")
)

// The functions below encode protobuf fields. Each size function returns the number of bytes that
// the corresponding append function writes. Zero numbers and empty byte strings are omitted,
// because they are the default values in proto3. Embedded messages are always written, even if they
// are empty.

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
	return appendNumber(appendNumber(dst, tag), value)
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

// appendTagAndLength appends the tag and the length of a length-delimited field.
func appendTagAndLength(dst []byte, tag uint64, length int) []byte {
	return appendNumber(appendNumber(dst, tag), uint64(length))
}

// appendNumber is like [protowire.AppendVarint], but faster for numbers that take one byte. Most
// tags and lengths do.
func appendNumber(dst []byte, number uint64) []byte {
	if number < 1<<7 {
		return append(dst, byte(number))
	}
	return protowire.AppendVarint(dst, number)
}
