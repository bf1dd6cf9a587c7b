package interceptors

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const redacted = "[redacted]"

// redactedJSON returns message as JSON. It redacts the fields that have the option debug_redact,
// and the content of each Any whose type is unknown.
func redactedJSON(message proto.Message) string {
	clone := proto.Clone(message)
	redact(clone.ProtoReflect())
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

// redact modifies message in place: it replaces or clears the fields that have the option
// debug_redact.
func redact(message protoreflect.Message) {
	if !message.IsValid() {
		return
	}
	if message.Descriptor().FullName() == "google.protobuf.Any" {
		redactAny(message)
		return
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case !isRedacted(field):
			redactMessage(field, value)
		case field.Kind() == protoreflect.StringKind && field.Cardinality() != protoreflect.Repeated:
			message.Set(field, protoreflect.ValueOfString(redacted))
		default:
			message.Clear(field)
		}
		return true
	})
}

// redactMessage redacts the messages contained in the value of a field.
func redactMessage(field protoreflect.FieldDescriptor, value protoreflect.Value) {
	switch {
	case field.IsMap():
		if field.MapValue().Message() == nil {
			return
		}
		value.Map().Range(func(_ protoreflect.MapKey, element protoreflect.Value) bool {
			redact(element.Message())
			return true
		})
	case field.Message() == nil:
	case field.IsList():
		for i := range value.List().Len() {
			redact(value.List().Get(i).Message())
		}
	default:
		redact(value.Message())
	}
}

// isRedacted reports whether a field has the option debug_redact. It uses reflection because the
// options message may be generated or dynamic.
func isRedacted(field protoreflect.FieldDescriptor) bool {
	options := field.Options().ProtoReflect()
	redact := options.Descriptor().Fields().ByName("debug_redact")
	return redact != nil && options.Get(redact).Bool()
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
		redact(inner.ProtoReflect())
	} else {
		inner = wrapperspb.String(redacted + " " + typeURL)
		message.Set(urlField, protoreflect.ValueOfString("type.googleapis.com/google.protobuf.StringValue"))
	}
	// Marshal cannot fail, because inner has just been decoded or created.
	encoded, _ := proto.MarshalOptions{AllowPartial: true}.Marshal(inner)
	message.Set(valueField, protoreflect.ValueOfBytes(encoded))
}
