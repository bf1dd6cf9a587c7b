package wire

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var errCodec = errors.New("value is compressed in an unknown or wrong way")

var errTypeName = errors.New("type name of a message frame must be non-empty and valid UTF-8: " +
	"set the full name of the message")

const (
	envelopeTagTypeURL    = 1<<wireTypeBits | wireBytes
	envelopeTagValue      = 2<<wireTypeBits | wireBytes
	envelopeTagRoutingKey = 3<<wireTypeBits | wireBytes
	envelopeTagCodec      = 4<<wireTypeBits | wireVarint
	envelopeTagNonce      = 1000<<wireTypeBits | wireFixed64
	envelopeTagMetadata   = 1001<<wireTypeBits | wireBytes

	typeURLPrefix = "type.googleapis.com/"
)

// Kind identifies the type of an envelope's inner message.
type Kind uint8

// The kinds of inner messages.
const (
	// KindUnknown is the kind of a user's message or of any other message not listed below.
	KindUnknown Kind = iota
	KindRequest
	KindResponse
	KindClaimRequest
	KindClaimResponse
	KindStream
	KindCancel
	KindDiscover
	KindPresence
)

// The full names of the inner messages, as used in type URLs.
const (
	requestName       = "internal.Request"
	responseName      = "internal.Response"
	claimRequestName  = "internal.ClaimRequest"
	claimResponseName = "internal.ClaimResponse"
	streamName        = "internal.Stream"
	cancelName        = "dynpsrpc.Cancel"
	discoverName      = "dynpsrpc.Discover"
	presenceName      = "dynpsrpc.Presence"
)

// Envelope is the outer message of a decoded frame. Its slices alias the frame.
type Envelope struct {
	// Kind determines which Parse function to use for Value.
	Kind Kind
	// TypeName is the full name of the inner message, which is the part of the type URL after the
	// last slash. It is empty if the frame has no type URL.
	TypeName []byte
	// Value is the encoded inner message.
	Value []byte
	// RoutingKey tells the receiver to which of its channels the frame belongs; see [Channel.Key].
	// Requests on a [UnicastChannel] contain it on every bus. Most other frames contain it only on
	// NATS.
	RoutingKey []byte
	// Metadata is the metadata of an update. It may be nil. Only dynpsrpc publishers send it.
	Metadata map[string]string
}

// codecGzip is the number that the sender writes to field 4 of an envelope if it has compressed the
// inner message with gzip.
const codecGzip = 1

// ParseEnvelope decodes the outer message of a frame but not the inner message. It returns an error
// if the frame is not a valid envelope or names an unknown codec. It also returns an error if the
// codec is gzip and the inner message is neither empty nor a gzip stream.
func ParseEnvelope(frame []byte) (Envelope, error) {
	var env Envelope
	codec := int32(0)
	r := reader{rest: frame}
	for r.next() {
		switch r.tag {
		case envelopeTagTypeURL:
			env.TypeName = nameInURL(r.text())
		case envelopeTagValue:
			env.Value = r.bytes
		case envelopeTagRoutingKey:
			env.RoutingKey = r.text()
		case envelopeTagCodec:
			codec = int32(r.number)
		case envelopeTagMetadata:
			env.Metadata = r.setEntry(env.Metadata)
		}
	}
	if r.err != nil {
		return Envelope{}, r.err
	}
	if codec != 0 && (codec != codecGzip || len(env.Value) > 0 && !IsCompressed(env.Value)) {
		return Envelope{}, errCodec
	}
	env.Kind = kindOf(env.TypeName)
	return env, nil
}

// nameInURL returns the full name in a type URL, which is the part after the last slash.
func nameInURL(url []byte) []byte { return url[bytes.LastIndexByte(url, '/')+1:] }

// kindOf returns the kind of the inner messages with this full name.
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
	case discoverName:
		return KindDiscover
	case presenceName:
		return KindPresence
	default:
		return KindUnknown
	}
}

// RoutingKey returns the routing key of a frame without decoding the inner message. The key aliases
// the frame. It is nil if the frame has no routing key. RoutingKey returns an error if the frame is
// malformed.
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

// AppendRoutingKey appends a routing key to an encoded frame and returns the extended frame. If key
// is empty, nothing is appended. Like append, AppendRoutingKey may write into the spare capacity of
// frame, so two goroutines must not extend the same frame.
func AppendRoutingKey(frame []byte, key string) []byte {
	return appendBytes(frame, envelopeTagRoutingKey, key)
}

// AppendMetadata appends metadata to an encoded frame and returns the extended frame. If metadata
// is empty, nothing is appended. If metadata is not valid UTF-8, AppendMetadata returns frame
// unchanged and an error. Like append, AppendMetadata may write into the spare capacity of frame,
// so two goroutines must not extend the same frame.
func AppendMetadata(frame []byte, metadata map[string]string) ([]byte, error) {
	if err := checkMetadata(metadata); err != nil {
		return frame, err
	}
	frame = slices.Grow(frame, sizeMetadata(envelopeTagMetadata, metadata))
	return appendMetadata(frame, envelopeTagMetadata, metadata), nil
}

// SizeRoutingKey returns the number of bytes that AppendRoutingKey appends for key.
func SizeRoutingKey(key string) int { return sizeBytes(envelopeTagRoutingKey, len(key)) }

// AppendMessageFrame appends the encoded frame of a user's message to dst. Publishers send such
// frames to subscribers. typeName is the full name of the message. A nonzero nonce distinguishes
// the frame from other frames with an identical message. If typeName is invalid or the message
// cannot be encoded, AppendMessageFrame returns dst unchanged and an error.
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

// beginFrame grows dst so that a whole frame fits. It then appends the part of the frame that
// precedes the inner message. The caller must append the inner message and any further envelope
// fields. size is the length of the inner message, and trailingSize is the total length of the
// further fields.
func beginFrame(dst []byte, typeName string, size, trailingSize int) []byte {
	urlLen := len(typeURLPrefix) + len(typeName)
	frameSize := sizeLengthDelimited(envelopeTagTypeURL, urlLen) + sizeBytes(envelopeTagValue, size) + trailingSize
	if dst == nil { // This is nearly always the case, and make is faster than slices.Grow.
		dst = make([]byte, 0, frameSize)
	}
	dst = slices.Grow(dst, frameSize)
	dst = appendTagAndLength(dst, envelopeTagTypeURL, urlLen)
	dst = append(dst, typeURLPrefix...)
	dst = append(dst, typeName...)
	if size > 0 {
		dst = appendTagAndLength(dst, envelopeTagValue, size)
	}
	return dst
}

// ReplaceValue returns a copy of frame with a compressed inner message, and with the codec gzip in
// field 4 of the envelope. value is the inner message of frame, as [ParseEnvelope] returns it, and
// compressed is value as a single gzip stream. All other fields of the envelope are copied. frame
// must be a valid envelope whose inner message is not compressed.
func ReplaceValue(frame, value, compressed []byte) []byte {
	result := make([]byte, 0, len(frame)-len(value)+len(compressed)+sizeVarint(envelopeTagCodec, codecGzip))
	r := reader{rest: frame}
	for field := r.rest; r.next(); field = r.rest {
		if r.tag != envelopeTagValue {
			result = append(result, field[:len(field)-len(r.rest)]...)
			continue
		}
		result = appendBytes(result, envelopeTagValue, compressed)
		result = appendVarint(result, envelopeTagCodec, codecGzip)
	}
	return result
}
