package fastdecode

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// maxNumber is the highest field number that the filter admits. The tags of all numbers up to
	// this one fit in two bytes. The maximum also limits the size of the filter's tables.
	maxNumber = 1<<11 - 1
	// maxDepth is the maximum depth of nested messages that the filter admits.
	maxDepth = 100
)

// filter decides whether hyperpb may decode an encoded message. Each message type has its own
// filter, made from the type's descriptor.
//
// hyperpb v0.1.3 is not memory-safe for all inputs, so any client could crash a server with one
// malformed request. It reads beyond the end of a request if a field in a nested message is
// truncated. In a oneof, it may also mistake the value of one field for a memory address that
// another field contains.
//
// The filter therefore parses the whole request and admits only what is known to be safe. Varints
// must be canonical, field numbers small, and nesting limited. Maps, groups, extensions and oneofs
// of more than one field are rejected. The fuzz tests of this package show that hyperpb and
// dynamicpb agree on such requests. dynamicpb decodes everything else, so a filter that is too
// strict only costs time.
type filter struct {
	// fields contains the rule for each field number. It is indexed by the number.
	fields []field
	// extensions contains the extension ranges of the message type. Fields with these numbers are
	// rejected, because hyperpb's parser does not know the extensions and would decode them as
	// unknown fields.
	extensions protoreflect.FieldRanges
}

// field is the filter's rule for one field number.
type field struct {
	kind valueKind
	// repeated reports whether the field is a list. A list of numbers may be encoded in packed
	// form.
	repeated bool
	// message is the filter for the field's message type. It is nil unless kind is message.
	message *filter
}

// valueKind describes the encoding of a field's value. The zero value, unknown, stands for field
// numbers that the message type does not define.
type valueKind uint8

const (
	unknown valueKind = iota
	// rejected stands for fields that the filter does not admit. These are groups, maps, and
	// members of a oneof that has more than one field.
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

// newFilter returns the filter for a message type. It takes the filter from filters or, if it is
// missing there, creates and adds it. The filter of a recursive type can thus refer to itself.
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

// admits reports whether hyperpb may decode the encoded message. The message must be valid and must
// not contain rejected fields, and every varint must have the shortest possible encoding. admits
// does not check whether strings are valid UTF-8, because hyperpb itself returns an error if they
// are not. depth is the number of nesting levels that are still allowed, including this message.
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

// admitsField reports whether hyperpb may decode a field. value is the encoded value of the field,
// without a length prefix. For the meaning of depth, see the method admits.
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

// admitsPacked reports whether hyperpb may decode all values of a packed field. It returns false if
// a value is malformed, or if a bool is encoded as a number other than 0 or 1.
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

// consumeValue returns the value at the start of encoded, without its length prefix. n is the
// number of bytes that the prefix and the value occupy. It is zero if the value is malformed,
// truncated or a group.
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

// consumeVarint returns the varint at the start of encoded and its length n in bytes. n is zero if
// the varint is malformed, truncated or longer than necessary.
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
