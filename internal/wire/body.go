package wire

import (
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var errModified = errors.New("message was changed while it was being encoded: " +
	"do not modify a message before the call that sends it has returned")

// Body is a payload: the user's message. The zero value is an empty message.
type Body struct {
	// Raw is the encoded message. A parsed Body has only Raw, aliasing the frame.
	Raw []byte
	// Message is encoded into the frame and wins over Raw if it is set. It must
	// not be modified during the encoding.
	Message proto.Message
	// Initialized says that Message lacks no required field: none is looked for.
	Initialized bool
}

// initialBodySize is the room that a message has which is encoded before its size is known.
const initialBodySize = 128

// size returns the encoded length, and prepares the body for the appendBody that
// follows: a generated message remembers its sizes, any other is encoded, since
// to find its size takes as long as that.
func (b *Body) size() int {
	switch {
	case b.Message == nil:
		return len(b.Raw)
	case b.Message.ProtoReflect().ProtoMethods() != nil:
		return proto.Size(b.Message)
	}
	encoded, err := proto.MarshalOptions{AllowPartial: b.Initialized}.MarshalAppend(make([]byte, 0, initialBodySize), b.Message)
	if err != nil {
		return 0 // appendBody finds it, too
	}
	b.Raw, b.Message = encoded, nil
	return len(encoded)
}

// appendBody appends the encoded body, whose length is size.
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

// appendBodyField appends the body as a bytes field, nothing if it is empty.
func appendBodyField(dst []byte, tag uint64, body Body, size int) ([]byte, error) {
	if size > 0 {
		dst = appendTagAndLength(dst, tag, size)
	}
	return appendBody(dst, body, size)
}
