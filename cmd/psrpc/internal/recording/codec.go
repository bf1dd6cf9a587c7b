package recording

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// The functions in this file encode and decode the messages of recording.proto. They are written by
// hand, because dynamic messages would be many times slower.

// These are the numbers of the fields of the message Record.
const headerRecord, serviceRecord, eventRecord protowire.Number = 1, 2, 3

func appendHeader(b []byte, h *Header) []byte {
	b = appendUint(b, 1, Version)
	b = appendTime(b, 2, h.Begun)
	b = appendText(b, 3, h.Bus)
	b = appendText(b, 4, h.Software)
	for _, name := range h.Redacted {
		b = appendField(b, 5, []byte(name))
	}
	return b
}

func decodeHeader(encoded []byte) (h Header, err error) {
	version := uint64(0)
	err = eachField(encoded, func(f field) error {
		switch f.number {
		case 1:
			version = f.uint
		case 2:
			h.Begun = f.time()
		case 3:
			h.Bus = string(f.bytes)
		case 4:
			h.Software = string(f.bytes)
		case 5:
			h.Redacted = append(h.Redacted, string(f.bytes))
		}
		return nil
	})
	if err == nil && version != Version {
		err = errors.NewErrorf(errors.InvalidArgument, "the recording has version %d, this program reads version %d", version, Version)
	}
	return h, err
}

func appendService(b []byte, s *Service) ([]byte, error) {
	files, err := proto.Marshal(s.Files)
	if err != nil {
		return nil, err
	}
	b = appendText(b, 1, s.Name)
	b = appendText(b, 2, s.WireName)
	b = appendField(b, 3, s.Digest[:])
	return appendField(b, 4, files), nil
}

func decodeService(encoded []byte) (s Service, err error) {
	s.Files = new(descriptorpb.FileDescriptorSet)
	err = eachField(encoded, func(f field) error {
		switch f.number {
		case 1:
			s.Name = string(f.bytes)
		case 2:
			s.WireName = string(f.bytes)
		case 3:
			copy(s.Digest[:], f.bytes)
		case 4:
			return proto.Unmarshal(f.bytes, s.Files)
		}
		return nil
	})
	return s, err
}

func appendEvent(b []byte, e *Event) []byte {
	b = appendTime(b, 1, e.At)
	b = appendUint(b, 2, uint64(e.Kind)) //nolint:gosec // an enum
	b = appendText(b, 3, e.Method)
	for _, part := range e.Topic {
		b = appendField(b, 4, []byte(part))
	}
	b = appendText(b, 5, e.ClientID)
	b = appendText(b, 6, e.RequestID)
	b = appendUint(b, 7, uint64(e.Duration)) //nolint:gosec // as protobuf encodes an int64
	b = appendText(b, 8, string(e.Code))
	if e.Affinity != 0 {
		b = protowire.AppendTag(b, 9, protowire.Fixed32Type)
		b = protowire.AppendFixed32(b, math.Float32bits(e.Affinity))
	}
	for key, value := range e.Metadata {
		b = appendField(b, 10, appendText(appendText(nil, 1, key), 2, value))
	}
	if len(e.Payload) > 0 {
		b = appendField(b, 11, e.Payload)
	}
	b = appendUint(b, 12, e.Missed)
	b = appendUint(b, 13, uint64(e.Size))
	return appendText(b, 100, e.ServerID)
}

func decodeEvent(encoded []byte) (e Event, err error) {
	err = eachField(encoded, func(f field) error {
		switch f.number {
		case 1:
			e.At = f.time()
		case 2:
			e.Kind = fleet.TapKind(f.uint) //nolint:gosec // an enum
		case 3:
			e.Method = string(f.bytes)
		case 4:
			e.Topic = append(e.Topic, string(f.bytes))
		case 5:
			e.ClientID = string(f.bytes)
		case 6:
			e.RequestID = string(f.bytes)
		case 7:
			e.Duration = time.Duration(f.uint) //nolint:gosec // as protobuf encodes an int64
		case 8:
			e.Code = errors.ErrorCode(f.bytes)
		case 9:
			e.Affinity = math.Float32frombits(uint32(f.uint)) //nolint:gosec // a fixed32
		case 10:
			return decodeMetadata(&e, f.bytes)
		case 11:
			e.Payload = f.bytes
		case 12:
			e.Missed = f.uint
		case 13:
			e.Size = uint32(f.uint) //nolint:gosec // a uint32
		case 100:
			e.ServerID = string(f.bytes)
		}
		return nil
	})
	return e, err
}

func decodeMetadata(e *Event, entry []byte) error {
	var key, value string
	err := eachField(entry, func(f field) error {
		switch f.number {
		case 1:
			key = string(f.bytes)
		case 2:
			value = string(f.bytes)
		}
		return nil
	})
	if e.Metadata == nil {
		e.Metadata = map[string]string{}
	}
	e.Metadata[key] = value
	return err
}

// field is a decoded field. A number is in uint, anything else in bytes.
type field struct {
	number protowire.Number
	uint   uint64
	bytes  []byte
}

func (f field) time() time.Time { return time.Unix(0, int64(f.uint)) } //nolint:gosec // as protobuf encodes an int64

// eachField calls f for each field of an encoded message. It returns the first error.
func eachField(encoded []byte, f func(field) error) error {
	for len(encoded) > 0 {
		number, kind, size := protowire.ConsumeTag(encoded)
		if size < 0 {
			return protowire.ParseError(size)
		}
		encoded = encoded[size:]
		decoded := field{number: number}
		switch kind {
		case protowire.VarintType:
			decoded.uint, size = protowire.ConsumeVarint(encoded)
		case protowire.Fixed32Type:
			var v uint32
			v, size = protowire.ConsumeFixed32(encoded)
			decoded.uint = uint64(v)
		case protowire.BytesType:
			decoded.bytes, size = protowire.ConsumeBytes(encoded)
		default:
			size = protowire.ConsumeFieldValue(number, kind, encoded)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		encoded = encoded[size:]
		if err := f(decoded); err != nil {
			return err
		}
	}
	return nil
}

func appendField(b []byte, number protowire.Number, value []byte) []byte {
	b = protowire.AppendTag(b, number, protowire.BytesType)
	return protowire.AppendBytes(b, value)
}

func appendText(b []byte, number protowire.Number, text string) []byte {
	if text == "" {
		return b
	}
	b = protowire.AppendTag(b, number, protowire.BytesType)
	return protowire.AppendString(b, text)
}

func appendUint(b []byte, number protowire.Number, value uint64) []byte {
	if value == 0 {
		return b
	}
	b = protowire.AppendTag(b, number, protowire.VarintType)
	return protowire.AppendVarint(b, value)
}

func appendTime(b []byte, number protowire.Number, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return appendUint(b, number, uint64(t.UnixNano()))
}
