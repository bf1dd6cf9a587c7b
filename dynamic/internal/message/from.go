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

// From converts given to a message. A proto.Message is returned as it is, without a check of its
// type. A json.RawMessage or a map[string]any is parsed according to the protobuf JSON mapping;
// types resolves extensions and the messages in google.protobuf.Any. If given is nil or a nil map,
// From returns an empty message. Errors returned by From do not contain the name of the method.
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
