package message

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Resolver finds extension types and the types of messages in google.protobuf.Any.
type Resolver interface {
	protoregistry.ExtensionTypeResolver
	protoregistry.MessageTypeResolver
}

// From converts value to a message. If value is a proto.Message, From returns it as it is, without
// checking its type. If value is a json.RawMessage or a map[string]any, From parses it according to
// the protobuf JSON mapping, and uses t.resolver to find extensions and the types of messages in
// google.protobuf.Any. A map may contain messages, time.Time and time.Duration values. If value is
// nil, a nil json.RawMessage or a nil map, From returns an empty message.
//
// The schema may lack a field of the JSON or the map, or the name of an enum value. discardUnknown
// decides whether From ignores such names or returns an error. Errors returned by From do not
// contain the name of the method.
func (t *Type) From(value any, discardUnknown bool) (proto.Message, error) {
	switch value := value.(type) {
	case nil:
		return t.New(), nil
	case proto.Message:
		return value, nil
	case json.RawMessage:
		message := t.New()
		switch {
		case value == nil:
			return message, nil
		case len(value) == 0:
			return nil, errEmptyJSON
		}
		return message, t.setJSON(message, value, discardUnknown)
	case map[string]any:
		message := t.New()
		if value == nil {
			return message, nil
		}
		return message, t.setMap(message, value, discardUnknown)
	case string, []byte:
		return nil, fmt.Errorf("a %T is no proto.Message, json.RawMessage or map[string]any: convert JSON with json.RawMessage(text)", value)
	default:
		return nil, fmt.Errorf("a %T is no proto.Message, json.RawMessage or map[string]any", value)
	}
}

// errEmptyJSON is the error for a json.RawMessage without content.
var errEmptyJSON = errors.New("the json.RawMessage is empty: nil or {} stands for an empty message")

// setJSON parses encoded as JSON and stores the result in message, which must be empty.
func (t *Type) setJSON(message proto.Message, encoded []byte, discardUnknown bool) error {
	options := protojson.UnmarshalOptions{Resolver: t.resolver, DiscardUnknown: discardUnknown}
	if err := options.Unmarshal(encoded, message); err != nil {
		return fmt.Errorf("cannot parse as %s: %w", t.Name, err)
	}
	return nil
}
