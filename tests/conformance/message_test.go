package conformance_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// These are the names of psrpc's message types.
const (
	typeURLPrefix     = "type.googleapis.com/"
	typeRequest       = "internal.Request"
	typeResponse      = "internal.Response"
	typeClaimRequest  = "internal.ClaimRequest"
	typeClaimResponse = "internal.ClaimResponse"
	typeStream        = "internal.Stream"
)

// These are the field numbers of psrpc's messages.
const (
	envelopeType, envelopeValue, envelopeKey = 1, 2, 3

	requestID, requestClient, requestSentAt, requestExpiry = 1, 2, 3, 4
	requestMulti, requestMetadata, requestRaw              = 5, 7, 8
	requestSkipClaim                                       = 10 // sent only by newer versions

	responseID, responseServer, responseSentAt = 1, 2, 3
	responseError, responseCode, responseRaw   = 5, 6, 7
	responseDetails                            = 8

	claimID, claimServer, claimAffinity = 1, 2, 3 // ClaimResponse also has the first two fields

	streamID, streamRequest, streamSentAt, streamExpiry = 1, 2, 3, 4
	streamOpen, streamMessage, streamAck, streamClose   = 6, 7, 8, 9

	openNode, openMetadata = 1, 7
	messageRaw             = 2
	closeError, closeCode  = 1, 2

	firstPrivate = 1000 // fields with this number or a higher one are private fields of dynpsrpc
)

// field is a field of an encoded message. Its value is kept as encoded.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bits   uint64 // value of a varint, fixed32 or fixed64 field
	bytes  []byte // value of a length-delimited field
}

// message is a decoded message. It contains all fields in their original order, including unknown
// ones.
type message []field

// parseMessage splits an encoded message into its fields.
func parseMessage(encoded []byte) (message, error) {
	var m message
	for len(encoded) > 0 {
		number, kind, n := protowire.ConsumeTag(encoded)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		encoded = encoded[n:]
		f := field{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			f.bits, n = protowire.ConsumeVarint(encoded)
		case protowire.Fixed64Type:
			f.bits, n = protowire.ConsumeFixed64(encoded)
		case protowire.Fixed32Type:
			var bits uint32
			bits, n = protowire.ConsumeFixed32(encoded)
			f.bits = uint64(bits)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(encoded)
		default:
			return nil, fmt.Errorf("field %d has the wire type %d", number, kind)
		}
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		encoded = encoded[n:]
		m = append(m, f)
	}
	return m, nil
}

func (m message) encode() []byte {
	var encoded []byte
	for _, f := range m {
		encoded = protowire.AppendTag(encoded, f.number, f.kind)
		switch f.kind {
		case protowire.VarintType:
			encoded = protowire.AppendVarint(encoded, f.bits)
		case protowire.Fixed64Type:
			encoded = protowire.AppendFixed64(encoded, f.bits)
		case protowire.Fixed32Type:
			encoded = protowire.AppendFixed32(encoded, uint32(f.bits))
		default:
			encoded = protowire.AppendBytes(encoded, f.bytes)
		}
	}
	return encoded
}

// find returns the last field with the given number, or an empty field if there is none.
func (m message) find(number protowire.Number) field {
	for _, f := range slices.Backward(m) {
		if f.number == number {
			return f
		}
	}
	return field{}
}

func (m message) has(number protowire.Number) bool { return m.find(number).number != 0 }

func (m message) text(number protowire.Number) string { return string(m.find(number).bytes) }

func (m message) bytes(number protowire.Number) []byte { return m.find(number).bytes }

func (m message) int64(number protowire.Number) int64 { return int64(m.find(number).bits) }

func (m message) float32(number protowire.Number) float32 {
	return math.Float32frombits(uint32(m.find(number).bits))
}

// sub returns an embedded message. It returns nil if the field is missing.
func (m message) sub(number protowire.Number) message {
	inner, _ := parseMessage(m.find(number).bytes)
	return inner
}

// metadata returns the value of a field of type map<string, string>.
func (m message) metadata(number protowire.Number) map[string]string {
	var metadata map[string]string
	for _, f := range m {
		if f.number != number {
			continue
		}
		if metadata == nil {
			metadata = map[string]string{}
		}
		entry, _ := parseMessage(f.bytes)
		metadata[entry.text(1)] = entry.text(2)
	}
	return metadata
}

// public returns a copy of the message without dynpsrpc's private fields.
func (m message) public() message {
	return slices.DeleteFunc(slices.Clone(m), func(f field) bool { return f.number >= firstPrivate })
}

// withText appends a text field. As in proto3, an empty text is omitted.
func (m message) withText(number protowire.Number, text string) message {
	return m.withBytes(number, []byte(text))
}

func (m message) withBytes(number protowire.Number, value []byte) message {
	if len(value) == 0 {
		return m
	}
	return append(m, field{number: number, kind: protowire.BytesType, bytes: value})
}

// withSub appends an embedded message, even if it is empty.
func (m message) withSub(number protowire.Number, inner message) message {
	return append(m, field{number: number, kind: protowire.BytesType, bytes: inner.encode()})
}

func (m message) withInt(number protowire.Number, value int64) message {
	if value == 0 {
		return m
	}
	return append(m, field{number: number, kind: protowire.VarintType, bits: uint64(value)})
}

func (m message) withBool(number protowire.Number, value bool) message {
	return m.withInt(number, int64(map[bool]int{true: 1}[value]))
}

func (m message) withFloat(number protowire.Number, value float32) message {
	if value == 0 {
		return m
	}
	return append(m, field{number: number, kind: protowire.Fixed32Type, bits: uint64(math.Float32bits(value))})
}

// with returns a copy of the message in which change has been applied to all fields with the given
// number.
func (m message) with(number protowire.Number, change func(*field)) message {
	changed := slices.Clone(m)
	for i := range changed {
		if changed[i].number == number {
			change(&changed[i])
		}
	}
	return changed
}

// String returns the fields as a sorted list. Sorting makes the result independent of the order of
// map entries, which is random.
func (m message) String() string {
	texts := make([]string, len(m))
	for i, f := range m {
		if f.kind == protowire.BytesType {
			texts[i] = fmt.Sprintf("%4d:%q", f.number, f.bytes)
		} else {
			texts[i] = fmt.Sprintf("%4d:%d", f.number, f.bits)
		}
	}
	sort.Strings(texts)
	return "{" + strings.Join(texts, " ") + "}"
}

// equal reports whether two messages have the same fields, in any order.
func (m message) equal(other message) bool {
	less := func(a, b field) int {
		if a.number != b.number {
			return int(a.number - b.number)
		}
		return bytes.Compare(a.bytes, b.bytes)
	}
	same := func(a, b field) bool {
		return a.number == b.number && a.kind == b.kind && a.bits == b.bits && bytes.Equal(a.bytes, b.bytes)
	}
	return slices.EqualFunc(slices.SortedFunc(slices.Values(m), less), slices.SortedFunc(slices.Values(other), less), same)
}

// frame is a decoded frame.
type frame struct {
	channel  string // the name of the channel on the broker
	payload  []byte
	typeURL  string
	key      string
	envelope message
	inner    message
}

func parseFrame(channel string, payload []byte) (frame, error) {
	envelope, err := parseMessage(payload)
	if err != nil {
		return frame{}, err
	}
	f := frame{channel: channel, payload: payload, envelope: envelope}
	f.typeURL, f.key = envelope.text(envelopeType), envelope.text(envelopeKey)
	f.inner, err = parseMessage(envelope.bytes(envelopeValue))
	return f, err
}

// typeName returns the part of the type URL after the last slash.
func (f frame) typeName() string { return f.typeURL[strings.LastIndex(f.typeURL, "/")+1:] }

// isStream reports whether the frame is a stream frame with the given kind of body.
func (f frame) isStream(body protowire.Number) bool {
	return f.typeName() == typeStream && f.inner.has(body)
}

func (f frame) String() string {
	return fmt.Sprintf("%s on %s key %q %v", f.typeName(), f.channel, f.key, f.inner)
}

// pack encodes a message in an envelope. key may be empty if no routing key is needed.
func pack(typeName string, inner message, key string) []byte {
	return message{}.withText(envelopeType, typeURLPrefix+typeName).
		withBytes(envelopeValue, inner.encode()).withText(envelopeKey, key).encode()
}

// text encodes a google.protobuf.StringValue, which is the message type of all methods in these
// tests.
func text(value string) []byte { return message{}.withText(1, value).encode() }

// textOf returns the text of an encoded StringValue.
func textOf(encoded []byte) string {
	m, _ := parseMessage(encoded)
	return m.text(1)
}
