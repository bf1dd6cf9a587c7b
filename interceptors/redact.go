package interceptors

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/internal/redact"
)

// redactedJSON returns message as JSON. It redacts the fields that have the option debug_redact,
// and the content of each Any whose type is unknown.
func redactedJSON(message proto.Message) string {
	clone := proto.Clone(message)
	redactMessage(clone.ProtoReflect())
	encoded, err := protojson.MarshalOptions{AllowPartial: true, UseProtoNames: true}.Marshal(clone)
	if err != nil {
		return "cannot be encoded: " + err.Error()
	}
	// protojson inserts spaces at random to prevent programs from depending on its exact output.
	// Compact removes them.
	var compact bytes.Buffer
	if err := json.Compact(&compact, encoded); err != nil {
		return "cannot be encoded: " + err.Error()
	}
	return compact.String()
}

// redactMessage modifies message in place: it replaces or clears the fields that have the option
// debug_redact.
func redactMessage(message protoreflect.Message) {
	redact.Rules{IsSecret: redact.HasDebugRedact, Any: redactAny}.Apply(message)
}

// redactAny redacts the message inside an Any. If the message has an unknown type or cannot be
// decoded, it is replaced by a string value that names the type.
func redactAny(message protoreflect.Message) {
	fields := message.Descriptor().Fields()
	urlField, valueField := fields.ByNumber(1), fields.ByNumber(2)
	typeURL := message.Get(urlField).String()
	if typeURL == "" {
		return
	}
	var inner proto.Message
	if messageType, err := protoregistry.GlobalTypes.FindMessageByURL(typeURL); err == nil {
		inner = messageType.New().Interface()
		if (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(message.Get(valueField).Bytes(), inner) != nil {
			inner = nil
		}
	}
	if inner != nil {
		redactMessage(inner.ProtoReflect())
	} else {
		inner = wrapperspb.String(redact.Text + " " + typeURL)
		message.Set(urlField, protoreflect.ValueOfString("type.googleapis.com/google.protobuf.StringValue"))
	}
	// Marshal cannot fail, because inner has just been decoded or created.
	encoded, _ := proto.MarshalOptions{AllowPartial: true}.Marshal(inner)
	message.Set(valueField, protoreflect.ValueOfBytes(encoded))
}
