package wire

import (
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var (
	errMalformed = errors.New("malformed frame: a field is truncated or badly encoded")
	errNotUTF8   = errors.New("malformed frame: a text field is not valid UTF-8")
)

// The wire types of the fields in use. A tag is number<<3 | wire type.
const (
	wireVarint  = uint64(protowire.VarintType)
	wireFixed64 = uint64(protowire.Fixed64Type)
	wireBytes   = uint64(protowire.BytesType)
	wireFixed32 = uint64(protowire.Fixed32Type)

	wireTypeBits = 3
	wireTypeMask = 1<<wireTypeBits - 1
)

// reader walks over the fields of one encoded message. Its user switches on
// tag, which holds number and wire type, so that a known number with a foreign
// wire type is skipped like an unknown field.
type reader struct {
	rest   []byte // not yet read
	err    error  // the first error; ends the walk
	tag    uint64 // of the current field
	number uint64 // its value, if it is a varint, fixed32 or fixed64
	bytes  []byte // its value, if it is length-delimited: clipped, nil if empty
}

// next reads one field. It returns false at the end and after an error.
func (r *reader) next() bool {
	if r.err != nil || len(r.rest) == 0 {
		return false
	}
	tag, tagLen := protowire.ConsumeVarint(r.rest)
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

// readValue reads the value of the current field from the start of b and
// returns its length, negative if it is malformed.
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
		var value []byte
		value, n = protowire.ConsumeBytes(b)
		r.bytes = nil
		if len(value) > 0 {
			r.bytes = slices.Clip(value)
		}
	default: // a group, unknown to every message here
		number := protowire.Number(r.tag >> wireTypeBits)
		n = protowire.ConsumeFieldValue(number, protowire.Type(r.tag&wireTypeMask), b)
	}
	return n
}

// text returns the bytes of the current field, which must be valid UTF-8.
func (r *reader) text() []byte {
	if !utf8.Valid(r.bytes) {
		r.err = errNotUTF8
	}
	return r.bytes
}
