package verbs

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// zeroOf returns the value of a field in a template. depth is the number of messages that surround
// the field.
func zeroOf(fd protoreflect.FieldDescriptor, depth int) any {
	if fd.IsMap() {
		return map[string]any{"": zeroOfKind(fd.MapValue(), depth)}
	}
	if fd.IsList() {
		return []any{zeroOfKind(fd, depth)}
	}
	return zeroOfKind(fd, depth)
}

// maxTemplateDepth limits the nesting of messages in a template, because a message may contain
// itself.
const maxTemplateDepth = 4

func zeroOfKind(fd protoreflect.FieldDescriptor, depth int) any {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return false
	case protoreflect.StringKind, protoreflect.BytesKind:
		return ""
	case protoreflect.EnumKind:
		return string(fd.Enum().Values().Get(0).Name())
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return template(fd.Message(), depth+1)
	case protoreflect.Int64Kind, protoreflect.Uint64Kind, protoreflect.Sint64Kind,
		protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return "0"
	default:
		return 0
	}
}

// template returns JSON with all fields of a message, for the user to fill in. It contains only the
// first field of a oneof.
func template(message protoreflect.MessageDescriptor, depth int) any {
	switch message.FullName() {
	case "google.protobuf.Timestamp":
		return "2026-01-01T00:00:00Z"
	case "google.protobuf.Duration":
		return "0s"
	case "google.protobuf.FieldMask":
		return ""
	case "google.protobuf.Struct", "google.protobuf.Any", "google.protobuf.Empty":
		return ordered{}
	case "google.protobuf.ListValue":
		return []any{}
	case "google.protobuf.Value":
		return nil
	}
	if isWellKnown(message) && message.Fields().Len() == 1 {
		return zeroOfKind(message.Fields().Get(0), depth) // a wrapper such as StringValue
	}
	object := ordered{}
	if depth > maxTemplateDepth {
		return object
	}
	for i := range message.Fields().Len() {
		fd := message.Fields().Get(i)
		if oneof := fd.ContainingOneof(); oneof != nil && oneof.Fields().Get(0) != fd {
			continue
		}
		object = append(object, member{fd.JSONName(), zeroOf(fd, depth)})
	}
	return object
}

// ordered is a JSON object whose members keep their order.
type ordered []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o ordered) MarshalJSON() ([]byte, error) {
	var encoded bytes.Buffer
	encoded.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			encoded.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		encoded.Write(append(append(name, ':'), value...))
	}
	encoded.WriteByte('}')
	return encoded.Bytes(), nil
}

// isWellKnown reports whether a message is of a well-known type, whose JSON form may be something
// other than an object with its fields.
func isWellKnown(message protoreflect.MessageDescriptor) bool {
	return message.FullName().Parent() == "google.protobuf"
}
