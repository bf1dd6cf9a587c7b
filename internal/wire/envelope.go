package wire

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var errTypeName = errors.New("type name of a message frame must be non-empty and valid UTF-8: " +
	"give the full name of the message")

const (
	envelopeTagTypeURL    = 1<<wireTypeBits | wireBytes
	envelopeTagValue      = 2<<wireTypeBits | wireBytes
	envelopeTagRoutingKey = 3<<wireTypeBits | wireBytes
	envelopeTagNonce      = 1000<<wireTypeBits | wireFixed64
	envelopeTagMetadata   = 1001<<wireTypeBits | wireBytes

	typeURLPrefix = "type.googleapis.com/"
)

// Kind tells what an envelope holds.
type Kind uint8

// The kinds of inner messages.
const (
	// KindUnknown is a user's message, or anything else that has no kind below.
	KindUnknown Kind = iota
	KindRequest
	KindResponse
	KindClaimRequest
	KindClaimResponse
	KindStream
	KindCancel
)

// The full names of psrpc's own messages and of ours, as they stand in the
// type URL.
const (
	requestName       = "internal.Request"
	responseName      = "internal.Response"
	claimRequestName  = "internal.ClaimRequest"
	claimResponseName = "internal.ClaimResponse"
	streamName        = "internal.Stream"
	cancelName        = "dynpsrpc.Cancel"
)

// Envelope is the outer message of a decoded frame. Its slices alias the frame.
type Envelope struct {
	// Kind says which Parse function takes Value.
	Kind Kind
	// TypeName is the full name of the inner message: what follows the last '/'
	// of the type URL. It is empty if the frame has none.
	TypeName []byte
	// Value is the encoded inner message.
	Value []byte
	// Metadata is what the sender of an update attached, nil if absent. Only our
	// peers send it.
	Metadata map[string]string
}

// ParseEnvelope decodes the outer message of a frame. It does not look into
// the inner one. A frame that is not a valid envelope is an error.
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
			r.text() // only checked: NATS alone needs it, and calls RoutingKey
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

// RoutingKey returns the routing key of a frame, nil if it has none, without
// decoding the rest. A frame whose fields cannot be walked is an error. The
// result aliases the frame.
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

// AppendRoutingKey appends a routing key to an encoded frame and returns the
// longer frame; an empty key changes nothing. Like append it may write into
// the spare capacity of frame, so two goroutines must not extend the same one.
func AppendRoutingKey(frame []byte, key string) []byte {
	return appendBytes(frame, envelopeTagRoutingKey, key)
}

// AppendMetadata appends metadata to an encoded frame and returns the longer
// frame; empty metadata changes nothing. Like append it may write into the
// spare capacity of frame, so two goroutines must not extend the same one. It
// returns frame as it was and an error if the metadata is not valid UTF-8.
func AppendMetadata(frame []byte, metadata map[string]string) ([]byte, error) {
	if !validMetadata(metadata) {
		return frame, errInvalidText
	}
	frame = slices.Grow(frame, sizeMetadata(envelopeTagMetadata, metadata))
	return appendMetadata(frame, envelopeTagMetadata, metadata), nil
}

// SizeRoutingKey returns how many bytes AppendRoutingKey appends.
func SizeRoutingKey(key string) int { return sizeBytes(envelopeTagRoutingKey, len(key)) }

// AppendMessageFrame appends to dst a frame that holds the user's message
// itself, as subscriptions send it. The type name is the full name of the
// message. A nonce other than 0 makes the frame differ from its equals. It
// returns dst as it was and an error if the message cannot be encoded.
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

// beginFrame makes room in dst for a whole frame and appends all that stands
// before the inner message, of which size bytes must follow. after is the
// length of the envelope's fields behind it.
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
