package message

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Resolver finds extension types and the types of messages in google.protobuf.Any.
type Resolver interface {
	protoregistry.ExtensionTypeResolver
	protoregistry.MessageTypeResolver
}

// From converts value to a message. If value is a proto.Message, From returns it as it is, without
// checking its type. If value is a json.RawMessage or a map[string]any, From parses it according to
// the protobuf JSON mapping. t.resolver then finds extensions and the types of messages in
// google.protobuf.Any. A map may contain messages, time.Time and time.Duration values. If value is
// nil or a nil map, From returns an empty message. Errors returned by From do not contain the name
// of the method.
//
// If discardUnknown is set, fields and enum values in JSON or in a map that the schema does not have
// are ignored. Otherwise they are an error.
func (t *Type) From(value any, discardUnknown bool) (proto.Message, error) {
	switch value := value.(type) {
	case nil:
		return t.New(), nil
	case proto.Message:
		return value, nil
	case json.RawMessage:
		return t.fromJSON(value, discardUnknown)
	case map[string]any:
		if value == nil {
			return t.New(), nil
		}
		encoded, err := jsonOfMap(value, t.New().ProtoReflect().Descriptor(), t.resolver)
		if err != nil {
			return nil, err
		}
		return t.fromJSON(encoded, discardUnknown)
	default:
		return nil, fmt.Errorf("a %T is no proto.Message, json.RawMessage or map[string]any", value)
	}
}

func (t *Type) fromJSON(encoded []byte, discardUnknown bool) (proto.Message, error) {
	message := t.New()
	options := protojson.UnmarshalOptions{Resolver: t.resolver, DiscardUnknown: discardUnknown}
	if err := options.Unmarshal(encoded, message); err != nil {
		return nil, fmt.Errorf("cannot parse as %s: %w", t.Name, err)
	}
	return message, nil
}
