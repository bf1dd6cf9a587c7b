package fastdecode

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// maxNumber is the highest field number whose tag has two bytes.
	maxNumber = 1<<11 - 1
	// maxDepth limits how deep messages may be nested.
	maxDepth = 100
)

// shape tells which bytes of a message hyperpb may be given: those that it is known to read rightly. For it is not
// safe with others: a field that is cut off inside a nested message makes it read beyond the request, which ends the
// process, and two fields of one oneof make it take the one's value for the address of the other.
type shape struct {
	fields []field // by number
	// extensions are numbers that hyperpb is not told about.
	extensions protoreflect.FieldRanges
}

// field is what a shape says of one number.
type field struct {
	content content
	list    bool   // numbers may be packed
	message *shape // of content message
}

// content is what a field's value consists of. The zero value is a number that the message does not have.
type content uint8

const (
	unknown content = iota
	refused         // groups, maps, and oneofs of several fields
	varint
	boolean
	fixed32
	fixed64
	text // also bytes
	message
)

var wireTypes = [...]protowire.Type{
	varint: protowire.VarintType, boolean: protowire.VarintType, fixed32: protowire.Fixed32Type,
	fixed64: protowire.Fixed64Type, text: protowire.BytesType, message: protowire.BytesType,
}

// newShape describes a message and what it holds; shapes are those that have been made for it.
func newShape(descriptor protoreflect.MessageDescriptor, shapes map[protoreflect.MessageDescriptor]*shape) *shape {
	if known := shapes[descriptor]; known != nil {
		return known
	}
	s := &shape{extensions: descriptor.ExtensionRanges()}
	shapes[descriptor] = s
	fields := descriptor.Fields()
	for i := range fields.Len() {
		described := fields.Get(i)
		number := int(described.Number())
		if number > maxNumber {
			continue
		}
		if number >= len(s.fields) {
			s.fields = append(s.fields, make([]field, number+1-len(s.fields))...)
		}
		f := field{content: contentOf(described), list: described.IsList()}
		if f.content == message {
			f.message = newShape(described.Message(), shapes)
		}
		s.fields[number] = f
	}
	return s
}

func contentOf(described protoreflect.FieldDescriptor) content {
	if oneof := described.ContainingOneof(); described.IsMap() || oneof != nil && oneof.Fields().Len() > 1 {
		return refused
	}
	return contentOfKind(described.Kind())
}

func contentOfKind(kind protoreflect.Kind) content {
	switch kind {
	case protoreflect.BoolKind:
		return boolean
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return fixed32
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return fixed64
	case protoreflect.StringKind, protoreflect.BytesKind:
		return text
	case protoreflect.MessageKind:
		return message
	case protoreflect.GroupKind:
		return refused
	default:
		return varint
	}
}

// admits reports whether encoded is a valid message, save that texts may not be UTF-8, with no field that is refused,
// and every varint as short as it can be.
func (s *shape) admits(encoded []byte, depth int) bool {
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
		if n == 0 || !s.admitsField(number, wireType, value, depth) {
			return false
		}
		encoded = encoded[n:]
	}
	return true
}

// admitsField looks at the value of a field, which is complete.
func (s *shape) admitsField(number protowire.Number, wireType protowire.Type, value []byte, depth int) bool {
	var f field
	if int(number) < len(s.fields) {
		f = s.fields[number]
	}
	switch {
	case f.content == unknown:
		return !s.extensions.Has(number)
	case f.content == refused:
		return false
	case wireTypes[f.content] != wireType:
		return f.list && wireType == protowire.BytesType && admitsPacked(value, f.content)
	case f.content == message:
		return f.message.admits(value, depth-1)
	case f.content == boolean:
		return value[0] <= 1
	default:
		return true
	}
}

// admitsPacked looks at a list of numbers.
func admitsPacked(values []byte, content content) bool {
	for len(values) > 0 {
		value, n := consumeValue(values, wireTypes[content])
		if n == 0 || content == boolean && value[0] > 1 {
			return false
		}
		values = values[n:]
	}
	return true
}

// consumeValue returns the value that encoded begins with, and how long it is with its length; 0: there is none.
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

// consumeVarint returns 0 if there is none, or not in as few bytes as possible.
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
