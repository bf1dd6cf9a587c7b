package rest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// fieldPath is the path to a field of a message or of a nested message, such as "order.id".
type fieldPath []protoreflect.FieldDescriptor

func (p fieldPath) last() protoreflect.FieldDescriptor { return p[len(p)-1] }

// findFields returns the path to a field from its dotted name, such as "order.id".
func findFields(message protoreflect.MessageDescriptor, names string) (fieldPath, error) {
	var path fieldPath
	for name := range strings.SplitSeq(names, ".") {
		if len(path) > 0 {
			message = path.last().Message()
			if message == nil || path.last().IsList() || path.last().IsMap() || isText(message) {
				return nil, fmt.Errorf("field %s has no fields", path.last().FullName())
			}
		}
		field := fieldByName(message, name)
		if field == nil {
			return nil, unknownField(message, name)
		}
		path = append(path, field)
	}
	return path, nil
}

// fieldByName returns the field that has this name in the .proto file or in JSON, or nil.
func fieldByName(message protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if field := message.Fields().ByName(protoreflect.Name(name)); field != nil {
		return field
	}
	return message.Fields().ByJSONName(name)
}

func unknownField(message protoreflect.MessageDescriptor, name string) error {
	return fmt.Errorf("message %s has no field %q", message.FullName(), name)
}

// isScalar reports whether the values of a field can be written as text in a path or query.
func isScalar(field protoreflect.FieldDescriptor) bool {
	return !field.IsMap() && (field.Message() == nil || isText(field.Message()))
}

// isText reports whether the JSON of a message is a single value, as for a Timestamp, and not an
// object.
func isText(message protoreflect.MessageDescriptor) bool {
	switch message.FullName() {
	case "google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask",
		"google.protobuf.BoolValue", "google.protobuf.StringValue", "google.protobuf.BytesValue",
		"google.protobuf.Int32Value", "google.protobuf.UInt32Value", "google.protobuf.Int64Value",
		"google.protobuf.UInt64Value", "google.protobuf.FloatValue", "google.protobuf.DoubleValue":
		return true
	default:
		return false
	}
}

// parametersOf returns the fields of a message that the OpenAPI document lists as query parameters,
// keyed by name. It leaves out the fields of nested messages, because messages may be recursive.
func parametersOf(message protoreflect.MessageDescriptor) map[string]protoreflect.FieldDescriptor {
	parameters := map[string]protoreflect.FieldDescriptor{}
	for i := range message.Fields().Len() {
		if field := message.Fields().Get(i); isScalar(field) {
			parameters[string(field.Name())] = field
		}
	}
	return parameters
}

// jsonOf converts a scalar value from text to JSON. It writes most numbers as strings, which the
// gateway accepts and checks when it decodes the message.
func jsonOf(field protoreflect.FieldDescriptor, text string) (json.RawMessage, error) {
	if !utf8.ValidString(text) {
		return nil, errors.NewErrorf(errors.InvalidArgument, "%s is not UTF-8", field.Name())
	}
	isBool := field.Kind() == protoreflect.BoolKind || field.Message() != nil && field.Message().FullName() == "google.protobuf.BoolValue"
	switch {
	case isBool && text != "true" && text != "false":
		return nil, errors.NewErrorf(errors.InvalidArgument, "%s: %.100q is neither true nor false", field.Name(), text)
	case isBool, isNumber(field, text):
		return json.RawMessage(text), nil
	}
	return json.Marshal(text)
}

// isNumber reports whether text is the number of an enum value. protojson accepts such a number
// only without quotes.
func isNumber(field protoreflect.FieldDescriptor, text string) bool {
	n, err := strconv.ParseInt(text, 10, 32)
	return field.Kind() == protoreflect.EnumKind && err == nil && strconv.FormatInt(n, 10) == text
}

// emptyValue returns the JSON of a field that is not set.
func emptyValue(field protoreflect.FieldDescriptor) []byte {
	var fields map[string]json.RawMessage
	message := dynamicpb.NewMessage(field.ContainingMessage())
	encoded, err := protojson.MarshalOptions{EmitUnpopulated: true, AllowPartial: true}.Marshal(message)
	if err == nil {
		err = json.Unmarshal(encoded, &fields)
	}
	if value := fields[field.JSONName()]; err == nil && value != nil {
		return value
	}
	return []byte("null") // EmitUnpopulated leaves out members of a oneof
}
