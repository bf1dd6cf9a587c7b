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

// From converts value to a message. It returns a proto.Message as it is, without checking its type.
// It parses a json.RawMessage or a map[string]any by the protobuf JSON mapping, and finds
// extensions and the types of messages in google.protobuf.Any with t.resolver. A map may contain
// messages, time.Time and time.Duration values. For nil, a nil json.RawMessage or a nil map, From
// returns an empty message.
//
// discardUnknown makes From ignore fields and names of enum values that the schema does not have,
// instead of returning an error. Errors of From do not name the RPC method.
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

// setJSON parses the JSON in encoded and stores the result in message, which must be empty.
func (t *Type) setJSON(message proto.Message, encoded []byte, discardUnknown bool) error {
	options := protojson.UnmarshalOptions{Resolver: t.resolver, DiscardUnknown: discardUnknown}
	if err := options.Unmarshal(encoded, message); err != nil {
		return fmt.Errorf("cannot parse as %s: %w", t.Name, err)
	}
	return nil
}
