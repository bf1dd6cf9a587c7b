package wire

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// detailTagTypeURL is the tag of the field type_url of an error detail, which is a
// google.protobuf.Any.
const detailTagTypeURL = 1<<wireTypeBits | wireBytes

// appendDetail decodes the current field and appends it to details. The decoded detail does not
// alias the frame. If the field is malformed, appendDetail sets r.err.
func (r *reader) appendDetail(details []*anypb.Any) []*anypb.Any {
	if !r.countEntry() {
		return details
	}
	detail := new(anypb.Any)
	if proto.Unmarshal(r.bytes, detail) != nil {
		r.err = errMalformed
	}
	return append(details, detail)
}

// checkDetail counts the detail in the current field without decoding it. If the field is
// malformed, checkDetail sets r.err.
func (r *reader) checkDetail() {
	if !r.countEntry() {
		return
	}
	detail := reader{rest: r.bytes}
	for detail.next() {
		if detail.tag == detailTagTypeURL {
			detail.text()
		}
	}
	r.err = detail.err
}

func sizeDetails(tag uint64, details []*anypb.Any) int {
	size := 0
	for _, detail := range details {
		size += sizeLengthDelimited(tag, proto.Size(detail))
	}
	return size
}

func appendDetails(dst []byte, tag uint64, details []*anypb.Any) ([]byte, error) {
	if len(details) > MaxEntries {
		return nil, errTooManyDetails
	}
	for _, detail := range details {
		size := proto.Size(detail)
		var err error
		dst, err = appendBody(appendTagAndLength(dst, tag, size), Body{Message: detail}, size)
		if err != nil {
			return nil, err
		}
	}
	return dst, nil
}
