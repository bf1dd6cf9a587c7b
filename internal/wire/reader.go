package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var (
	errMalformed = errors.New("malformed frame: a field is truncated or badly encoded")
	errNotUTF8   = errors.New("malformed frame: a text field is not valid UTF-8")
	errTooMany   = errors.New("malformed frame: too many metadata entries or error details")
)

// The protobuf wire types used by this package. A tag combines a field number with a wire type:
// number<<3 | wireType.
const (
	wireVarint  = uint64(protowire.VarintType)
	wireFixed64 = uint64(protowire.Fixed64Type)
	wireBytes   = uint64(protowire.BytesType)
	wireFixed32 = uint64(protowire.Fixed32Type)

	wireTypeBits = 3
	wireTypeMask = 1<<wireTypeBits - 1
)

// MaxEntries is the maximum number of metadata entries in a frame, and of details in an error. The
// number is limited because decoding an entry takes much time and memory even if it is only a few
// bytes long.
const MaxEntries = 1024

// reader iterates over the fields of an encoded message. Callers switch on tag, which combines the
// field number with the wire type. A known field number with an unexpected wire type is thus
// skipped like an unknown field.
type reader struct {
	// rest is the part of the message that has not been read yet.
	rest []byte
	// err is the first error that occurred. It ends the iteration.
	err error
	// tag is the tag of the current field.
	tag uint64
	// number is the value of the current field if it is a varint, fixed32 or fixed64.
	number uint64
	// bytes is the value of the current field if it is length-delimited. Its capacity is clipped to
	// its length. It is nil if the value is empty.
	bytes []byte
	// entries is the number of metadata entries or error details read so far. countEntry compares
	// it with MaxEntries.
	entries int
}

// next reads the next field. It returns false at the end of the message and after an error.
func (r *reader) next() bool {
	if r.err != nil || len(r.rest) == 0 {
		return false
	}
	tag, tagLen := consumeVarint(r.rest)
	number := tag >> wireTypeBits
	if tagLen < 0 || number < uint64(protowire.MinValidNumber) || number > uint64(protowire.MaxValidNumber) {
		r.err = errMalformed
		return false
	}
	r.tag = tag
	valueLen := r.readValue(r.rest[tagLen:])
	if valueLen < 0 {
		r.err = errMalformed
		return false
	}
	r.rest = r.rest[tagLen+valueLen:]
	return true
}

// readValue reads the value of the current field from the start of b. It returns the length of the
// value, or a negative number if the value is malformed.
func (r *reader) readValue(b []byte) (n int) {
	switch r.tag & wireTypeMask {
	case wireVarint:
		r.number, n = protowire.ConsumeVarint(b)
	case wireFixed64:
		r.number, n = protowire.ConsumeFixed64(b)
	case wireFixed32:
		var value uint32
		value, n = protowire.ConsumeFixed32(b)
		r.number = uint64(value)
	case wireBytes:
		length, lengthLen := consumeVarint(b)
		if lengthLen < 0 || length > uint64(len(b)-lengthLen) {
			return -1
		}
		n = lengthLen + int(length)
		r.bytes = nil
		if length > 0 {
			r.bytes = b[lengthLen:n:n]
		}
	default: // skips groups, because no message in this package uses them
		number := protowire.Number(r.tag >> wireTypeBits)
		n = protowire.ConsumeFieldValue(number, protowire.Type(r.tag&wireTypeMask), b)
	}
	return n
}

// consumeVarint is like [protowire.ConsumeVarint], but faster for numbers that take one byte. Most
// tags and lengths do.
func consumeVarint(b []byte) (value uint64, n int) {
	if len(b) > 0 && b[0] < 1<<7 {
		return uint64(b[0]), 1
	}
	return protowire.ConsumeVarint(b)
}

// countEntry counts the current field as an entry. If there are more than MaxEntries entries,
// countEntry sets r.err and returns false.
func (r *reader) countEntry() bool {
	if r.entries++; r.entries > MaxEntries {
		r.err = errTooMany
	}
	return r.err == nil
}

// text returns the bytes of the current field. If they are not valid UTF-8, it sets r.err.
func (r *reader) text() []byte {
	if !validText(r.bytes) {
		r.err = errNotUTF8
	}
	return r.bytes
}
