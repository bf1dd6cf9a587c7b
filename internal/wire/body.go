package wire

import (
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var errModified = errors.New("message was changed while it was being encoded: " +
	"do not modify a message before the call that sends it has returned")

// Body is the user's message in a frame. The zero value is an empty message.
type Body struct {
	// Raw is the encoded message. In a parsed Body, only Raw is set, and it aliases the frame.
	Raw []byte
	// Message is the message to encode into the frame. If it is set, Raw is ignored. Message must
	// not be modified while it is being encoded.
	Message proto.Message
	// Initialized reports whether all required fields of Message are known to be set. This is
	// always the case in proto3. If Initialized is true, the encoder does not search the message
	// for required fields that are not set.
	Initialized bool
}

// initialBodySize is the initial buffer capacity, in bytes, for encoding a message whose size is
// unknown.
const initialBodySize = 128

// size returns the encoded length of b and prepares b for appendBody. Generated messages cache
// their size, which makes the encoding that follows faster. Other messages are encoded immediately,
// because computing their size takes as long as encoding them.
func (b *Body) size() int {
	switch {
	case b.Message == nil:
		return len(b.Raw)
	case b.Message.ProtoReflect().ProtoMethods() != nil:
		return proto.Size(b.Message)
	}
	encoded, err := proto.MarshalOptions{AllowPartial: b.Initialized}.MarshalAppend(make([]byte, 0, initialBodySize), b.Message)
	if err != nil {
		return 0 // appendBody encodes Message again and returns the same error
	}
	b.Raw, b.Message = encoded, nil
	return len(encoded)
}

// appendBody appends the encoded body to dst. size is the length returned by Body.size.
func appendBody(dst []byte, body Body, size int) ([]byte, error) {
	if body.Message == nil {
		return append(dst, body.Raw...), nil
	}
	start := len(dst)
	dst, err := proto.MarshalOptions{UseCachedSize: true, AllowPartial: body.Initialized}.MarshalAppend(dst, body.Message)
	if err != nil {
		return nil, err
	}
	if len(dst)-start != size {
		return nil, errModified
	}
	return dst, nil
}

// appendBodyField appends body to dst as a bytes field. It appends nothing if body is empty.
func appendBodyField(dst []byte, tag uint64, body Body, size int) ([]byte, error) {
	if size > 0 {
		dst = appendTagAndLength(dst, tag, size)
	}
	return appendBody(dst, body, size)
}
