package wire

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var errTypeName = errors.New("type name of a message frame must be non-empty and valid UTF-8: " +
	"set the full name of the message")

const (
	envelopeTagTypeURL    = 1<<wireTypeBits | wireBytes
	envelopeTagValue      = 2<<wireTypeBits | wireBytes
	envelopeTagRoutingKey = 3<<wireTypeBits | wireBytes
	envelopeTagNonce      = 1000<<wireTypeBits | wireFixed64
	envelopeTagMetadata   = 1001<<wireTypeBits | wireBytes

	typeURLPrefix = "type.googleapis.com/"
)

// Kind is the type of the inner message of an envelope.
type Kind uint8

// The kinds of inner messages.
const (
	// KindUnknown is a user's message, or any other message without a kind below.
	KindUnknown Kind = iota
	KindRequest
	KindResponse
	KindClaimRequest
	KindClaimResponse
	KindStream
	KindCancel
)

// The full names of the inner messages in type URLs.
const (
	requestName       = "internal.Request"
	responseName      = "internal.Response"
	claimRequestName  = "internal.ClaimRequest"
	claimResponseName = "internal.ClaimResponse"
	streamName        = "internal.Stream"
	cancelName        = "dynpsrpc.Cancel"
)

// Envelope is the outer message of a decoded frame. Its slices alias the frame. Use [RoutingKey]
// for the routing key, which only NATS needs.
type Envelope struct {
	// Kind selects the Parse function for Value.
	Kind Kind
	// TypeName is the full name of the inner message: the part of the type URL after the last '/'.
	// It is empty if the frame has no type URL.
	TypeName []byte
	// Value is the encoded inner message.
	Value []byte
	// Metadata is the metadata of an update, or nil. Only dynpsrpc publishers send it.
	Metadata map[string]string
}

// ParseEnvelope decodes the outer message of a frame, without decoding the inner one. It returns an
// error if the frame is not a valid envelope.
func ParseEnvelope(frame []byte) (Envelope, error) {
	var env Envelope
	r := reader{rest: frame}
	for r.next() {
		switch r.tag {
		case envelopeTagTypeURL:
			url := r.text()
			env.TypeName = url[bytes.LastIndexByte(url, '/')+1:]
		case envelopeTagValue:
			env.Value = r.bytes
		case envelopeTagRoutingKey:
			r.text() // checked only: the NATS bus calls RoutingKey
		case envelopeTagMetadata:
			env.Metadata = r.setEntry(env.Metadata)
		}
	}
	if r.err != nil {
		return Envelope{}, r.err
	}
	env.Kind = kindOf(env.TypeName)
	return env, nil
}

// kindOf returns the kind of the inner message with the given full name.
func kindOf(typeName []byte) Kind {
	switch string(typeName) {
	case requestName:
		return KindRequest
	case responseName:
		return KindResponse
	case claimRequestName:
		return KindClaimRequest
	case claimResponseName:
		return KindClaimResponse
	case streamName:
		return KindStream
	case cancelName:
		return KindCancel
	default:
		return KindUnknown
	}
}

// RoutingKey returns the routing key of a frame, or nil if it has none, without decoding the rest.
// It returns an error if the frame is malformed. The result aliases the frame.
func RoutingKey(frame []byte) ([]byte, error) {
	var key []byte
	r := reader{rest: frame}
	for r.next() {
		if r.tag == envelopeTagRoutingKey {
			key = r.text()
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return key, nil
}

// AppendRoutingKey appends a routing key to an encoded frame and returns the extended frame. An
// empty key adds nothing. Like append it may write into the spare capacity of frame, so two
// goroutines must not extend the same frame.
func AppendRoutingKey(frame []byte, key string) []byte {
	return appendBytes(frame, envelopeTagRoutingKey, key)
}

// AppendMetadata appends metadata to an encoded frame and returns the extended frame. Empty
// metadata adds nothing. Like append it may write into the spare capacity of frame, so two
// goroutines must not extend the same frame. If the metadata is not valid UTF-8 it returns frame
// unchanged and an error.
func AppendMetadata(frame []byte, metadata map[string]string) ([]byte, error) {
	if !validMetadata(metadata) {
		return frame, errInvalidText
	}
	frame = slices.Grow(frame, sizeMetadata(envelopeTagMetadata, metadata))
	return appendMetadata(frame, envelopeTagMetadata, metadata), nil
}

// SizeRoutingKey returns the number of bytes that AppendRoutingKey appends.
func SizeRoutingKey(key string) int { return sizeBytes(envelopeTagRoutingKey, len(key)) }

// AppendMessageFrame appends a frame with a user's message to dst, as publishers to a subscription
// send it. typeName is the full name of the message. A nonce other than zero distinguishes the
// frame from others with an identical message. If the message cannot be encoded it returns dst
// unchanged and an error.
func AppendMessageFrame(dst []byte, body Body, typeName string, nonce uint64) ([]byte, error) {
	if typeName == "" || !utf8.ValidString(typeName) {
		return dst, errTypeName
	}
	nonceSize := 0
	if nonce != 0 {
		nonceSize = protowire.SizeVarint(envelopeTagNonce) + protowire.SizeFixed64()
	}
	size := body.size()
	frame, err := appendBody(beginFrame(dst, typeName, size, nonceSize), body, size)
	if err != nil {
		return dst, err
	}
	if nonce != 0 {
		frame = protowire.AppendFixed64(protowire.AppendVarint(frame, envelopeTagNonce), nonce)
	}
	return frame, nil
}

// beginFrame grows dst to the capacity of a whole frame and appends the part of the frame that
// precedes the inner message. The caller appends the size bytes of the inner message, and then
// trailing bytes of further envelope fields.
func beginFrame(dst []byte, typeName string, size, trailing int) []byte {
	urlLen := len(typeURLPrefix) + len(typeName)
	dst = slices.Grow(dst, sizeLengthDelimited(envelopeTagTypeURL, urlLen)+sizeBytes(envelopeTagValue, size)+trailing)
	dst = appendTagAndLength(dst, envelopeTagTypeURL, urlLen)
	dst = append(dst, typeURLPrefix...)
	dst = append(dst, typeName...)
	if size > 0 {
		dst = appendTagAndLength(dst, envelopeTagValue, size)
	}
	return dst
}
