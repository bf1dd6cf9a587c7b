package fastdecode

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// maxNumber is the highest field number that the filter admits: the highest whose tag has at
	// most two bytes. It also bounds the tables of the filter.
	maxNumber = 1<<11 - 1
	// maxDepth is the maximum depth of nested messages that the filter admits.
	maxDepth = 100
)

// filter decides whether hyperpb may decode the bytes of a message. There is one filter for each
// message type, built from its descriptor.
//
// hyperpb v0.1.3 is not memory safe for every input. A field that is truncated inside a nested
// message makes it read beyond the request, which ends the process with a fault that recover cannot
// catch. Two fields of one oneof share memory, and it takes the value of one for the address of the
// other. Since requests come from clients, a single malformed frame could end the server.
//
// The filter is therefore a list of what is allowed, not of what is known to fail. It parses the
// whole request without allocating and admits it only if every part has a form for which the tests
// and the fuzz targets of this package found that hyperpb and dynamicpb agree: canonical varints,
// small field numbers, limited depth, no maps, groups, extensions or oneofs of several fields.
// Everything else goes to dynamicpb, so a filter that is too strict costs speed and never
// correctness. The additional pass takes much less time than it saves: decoding a nested request of
// 10 KB is several times as fast as with dynamicpb.
type filter struct {
	// fields holds the rule for each field number.
	fields []field
	// extensions are the message's extension ranges, whose numbers are rejected: the compiled
	// parser does not know the extensions and would keep them as unknown fields.
	extensions protoreflect.FieldRanges
}

// field is the rule of a filter for one field number.
type field struct {
	kind valueKind
	// repeated reports whether the field is a list, whose numbers may be packed.
	repeated bool
	// message is the filter of the field's message type, if kind is message.
	message *filter
}

// valueKind is the form of a field's value. The zero value belongs to the numbers that the message
// does not define.
type valueKind uint8

const (
	unknown valueKind = iota
	// rejected is the kind of groups, maps and members of a oneof that has several fields.
	rejected
	varint
	boolean
	fixed32
	fixed64
	textOrBytes
	message
)

var wireTypes = [...]protowire.Type{
	varint: protowire.VarintType, boolean: protowire.VarintType, fixed32: protowire.Fixed32Type,
	fixed64: protowire.Fixed64Type, textOrBytes: protowire.BytesType, message: protowire.BytesType,
}

// newFilter returns the filter of a message type. filters caches those of the types seen so far, so
// that a recursive type uses its own filter again.
func newFilter(descriptor protoreflect.MessageDescriptor, filters map[protoreflect.MessageDescriptor]*filter) *filter {
	if known := filters[descriptor]; known != nil {
		return known
	}
	f := &filter{extensions: descriptor.ExtensionRanges()}
	filters[descriptor] = f
	fields := descriptor.Fields()
	for i := range fields.Len() {
		fieldDescriptor := fields.Get(i)
		number := int(fieldDescriptor.Number())
		if number > maxNumber {
			continue
		}
		if number >= len(f.fields) {
			f.fields = append(f.fields, make([]field, number+1-len(f.fields))...)
		}
		rule := field{kind: valueKindOf(fieldDescriptor), repeated: fieldDescriptor.IsList()}
		if rule.kind == message {
			rule.message = newFilter(fieldDescriptor.Message(), filters)
		}
		f.fields[number] = rule
	}
	return f
}

func valueKindOf(fieldDescriptor protoreflect.FieldDescriptor) valueKind {
	if oneof := fieldDescriptor.ContainingOneof(); fieldDescriptor.IsMap() || oneof != nil && oneof.Fields().Len() > 1 {
		return rejected
	}
	return kindOf(fieldDescriptor.Kind())
}

func kindOf(kind protoreflect.Kind) valueKind {
	switch kind {
	case protoreflect.BoolKind:
		return boolean
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return fixed32
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return fixed64
	case protoreflect.StringKind, protoreflect.BytesKind:
		return textOrBytes
	case protoreflect.MessageKind:
		return message
	case protoreflect.GroupKind:
		return rejected
	default:
		return varint
	}
}

// admits reports whether encoded is a valid message without rejected fields in which every varint
// has the shortest encoding. It does not check that strings are UTF-8, because hyperpb returns an
// error if they are not. depth is the number of nested levels that are left, including this
// message.
func (f *filter) admits(encoded []byte, depth int) bool {
	if depth == 0 {
		return false
	}
	for len(encoded) > 0 {
		tag, n := consumeVarint(encoded)
		number, wireType := protowire.DecodeTag(tag)
		if n == 0 || number < 1 || number > maxNumber {
			return false
		}
		encoded = encoded[n:]
		value, n := consumeValue(encoded, wireType)
		if n == 0 || !f.admitsField(number, wireType, value, depth) {
			return false
		}
		encoded = encoded[n:]
	}
	return true
}

// admitsField reports whether a field with this value is admitted. The value is not truncated.
func (f *filter) admitsField(number protowire.Number, wireType protowire.Type, value []byte, depth int) bool {
	var rule field
	if int(number) < len(f.fields) {
		rule = f.fields[number]
	}
	switch {
	case rule.kind == unknown:
		return !f.extensions.Has(number)
	case rule.kind == rejected:
		return false
	case wireTypes[rule.kind] != wireType:
		return rule.repeated && wireType == protowire.BytesType && admitsPacked(value, rule.kind)
	case rule.kind == message:
		return rule.message.admits(value, depth-1)
	case rule.kind == boolean:
		return value[0] <= 1
	default:
		return true
	}
}

// admitsPacked reports whether the values of a packed field are admitted. A bool must be 0 or 1.
func admitsPacked(values []byte, kind valueKind) bool {
	for len(values) > 0 {
		value, n := consumeValue(values, wireTypes[kind])
		if n == 0 || kind == boolean && value[0] > 1 {
			return false
		}
		values = values[n:]
	}
	return true
}

// consumeValue returns the value at the start of encoded and the number of bytes it takes, with its
// length prefix. n is zero if the value is malformed or truncated, or if it is a group.
func consumeValue(encoded []byte, wireType protowire.Type) (value []byte, n int) {
	switch wireType {
	case protowire.VarintType:
		_, n = consumeVarint(encoded)
		return encoded[:n], n
	case protowire.Fixed32Type:
		n = 4
	case protowire.Fixed64Type:
		n = 8
	case protowire.BytesType:
		if _, prefix := consumeVarint(encoded); prefix == 0 {
			return nil, 0
		}
		value, n = protowire.ConsumeBytes(encoded)
		return value, max(n, 0)
	default:
		return nil, 0
	}
	if n > len(encoded) {
		return nil, 0
	}
	return encoded[:n], n
}

// consumeVarint returns the varint at the start of encoded and its length. n is zero if the varint
// is malformed, truncated or longer than necessary.
func consumeVarint(encoded []byte) (value uint64, n int) {
	if len(encoded) > 0 && encoded[0] < 0x80 {
		return uint64(encoded[0]), 1
	}
	value, n = protowire.ConsumeVarint(encoded)
	if n < 1 || encoded[n-1] == 0 {
		return 0, 0
	}
	return value, n
}
