package message

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Resolver finds the types of extensions and of the messages in Any.
type Resolver interface {
	protoregistry.ExtensionTypeResolver
	protoregistry.MessageTypeResolver
}

// From returns given as a message: a proto.Message as it is, without a check of its type; JSON and
// maps parsed by protobuf's JSON mapping, with types for Any; and nil as an empty message.
// The errors do not name the method.
func (t *Type) From(types Resolver, given any) (proto.Message, error) {
	switch given := given.(type) {
	case nil:
		return t.New(), nil
	case proto.Message:
		return given, nil
	case json.RawMessage:
		return t.fromJSON(types, given)
	case map[string]any:
		if given == nil {
			return t.New(), nil
		}
		encoded, err := json.Marshal(given)
		if err != nil {
			return nil, fmt.Errorf("map cannot be encoded as JSON: %w", err)
		}
		return t.fromJSON(types, encoded)
	default:
		return nil, fmt.Errorf("a %T is no proto.Message, json.RawMessage or map[string]any", given)
	}
}

func (t *Type) fromJSON(types Resolver, encoded []byte) (proto.Message, error) {
	message := t.New()
	options := protojson.UnmarshalOptions{Resolver: types}
	if err := options.Unmarshal(encoded, message); err != nil {
		return nil, fmt.Errorf("cannot parse as %s: %w", t.Name, err)
	}
	return message, nil
}
