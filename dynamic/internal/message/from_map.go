package message

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// setMap stores the content of a map in message, which must be empty. To do so, it encodes the map
// according to the protobuf JSON mapping and decodes the result. Package encoding/json alone would
// encode messages in the map as ordinary Go structs. For many messages, this is not their protobuf
// JSON, and a dynamic message would become an empty object.
func (t *Type) setMap(message proto.Message, value map[string]any, discardUnknown bool) error {
	descriptor := message.ProtoReflect().Descriptor()
	if !isPlain(value, 0) {
		converted, err := mapConverter{t.resolver}.convert(value, wantedMessage(descriptor), 0)
		if err != nil {
			return err
		}
		value, _ = converted.(map[string]any) // convert returns a map of the same type
	}
	options := protojson.UnmarshalOptions{Resolver: t.resolver, DiscardUnknown: discardUnknown}
	err := unmarshalMap(value, message, options)
	if err == nil {
		return nil
	}
	if problem := wrongEntry(value, descriptor, options); problem != "" {
		return fmt.Errorf("cannot parse as %s: %s", t.Name, problem)
	}
	return fmt.Errorf("cannot parse as %s: %w", t.Name, err)
}

func unmarshalMap(value map[string]any, message proto.Message, options protojson.UnmarshalOptions) error {
	encoded, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return options.Unmarshal(encoded, message)
}

// wrongEntry finds the first entry of a map that cannot be stored in a message. It returns the keys
// that lead to the entry and the reason, as in "address: port: invalid value for int32 field port".
// The error of protojson would name a line of JSON that the user has never seen. If each entry
// alone can be stored, wrongEntry returns "", because the error has another cause, such as a
// missing required field.
func wrongEntry(value map[string]any, descriptor protoreflect.MessageDescriptor, options protojson.UnmarshalOptions) string {
	options.AllowPartial = true
	for _, key := range slices.Sorted(maps.Keys(value)) {
		cause := unmarshalMap(map[string]any{key: value[key]}, dynamicpb.NewMessage(descriptor), options)
		if cause == nil {
			continue
		}
		nested, isMap := value[key].(map[string]any)
		w := wantedField(mapConverter{options.Resolver}.field(descriptor, key))
		if isMap && !w.elements && w.message != nil && !w.holdsJSON() {
			if inner := wrongEntry(nested, w.message, options); inner != "" {
				return key + ": " + inner
			}
		}
		return key + ": " + withoutPosition(cause)
	}
	return ""
}

// withoutPosition returns the text of an error of protojson without the position in the JSON.
func withoutPosition(err error) string {
	position, problem, found := strings.Cut(err.Error(), "): ")
	if found && strings.Contains(position, "(line ") {
		return problem
	}
	return err.Error()
}

// maxMapDepth is the maximum depth of nested values in a map. protojson has the same limit.
const maxMapDepth = protowire.DefaultRecursionLimit

// isPlain reports whether encoding/json encodes a value according to the protobuf JSON mapping, so
// that mapConverter need not convert it. isPlain knows the most common types and returns false for
// all others.
func isPlain(value any, depth int) bool {
	switch value := value.(type) {
	case nil, bool, string, json.Number, json.RawMessage, []byte, []string, map[string]string,
		int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return true
	case float64:
		return !isSpecial(value)
	case map[string]any:
		for _, inner := range value {
			if depth >= maxMapDepth || !isPlain(inner, depth+1) {
				return false
			}
		}
		return true
	case []any:
		for _, inner := range value {
			if depth >= maxMapDepth || !isPlain(inner, depth+1) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// wanted describes which values may appear at one place in a message, such as a field or an element
// of a list. The zero value means that nothing is known about these values, or that any JSON value
// may appear.
type wanted struct {
	// kind is the kind of the value. For a list or a map, it is the kind of the elements. It is 0
	// if the kind is not known.
	kind protoreflect.Kind
	// message is the descriptor of the value, or of the elements of a list or a map. It is nil if
	// the value or the elements are not messages.
	message protoreflect.MessageDescriptor
	// elements reports whether the value is a list or a map.
	elements bool
}

func wantedMessage(descriptor protoreflect.MessageDescriptor) wanted {
	return wanted{kind: protoreflect.MessageKind, message: descriptor}
}

// wantedField describes the value of a field. For an unknown field, the argument is nil.
func wantedField(field protoreflect.FieldDescriptor) wanted {
	switch {
	case field == nil:
		return wanted{}
	case field.IsMap():
		return wanted{kind: field.MapValue().Kind(), message: field.MapValue().Message(), elements: true}
	default:
		return wanted{kind: field.Kind(), message: field.Message(), elements: field.IsList()}
	}
}

// isMessage reports whether w describes a single message whose type is named name.
func (w wanted) isMessage(name protoreflect.FullName) bool {
	return !w.elements && w.message != nil && w.message.FullName() == name
}

// isFloat reports whether w describes a floating-point number or a wrapper message for one.
func (w wanted) isFloat() bool {
	return w.kind == protoreflect.FloatKind || w.kind == protoreflect.DoubleKind ||
		w.isMessage("google.protobuf.FloatValue") || w.isMessage("google.protobuf.DoubleValue")
}

// holdsJSON reports whether w describes an unknown value or a message with a special JSON form,
// such as google.protobuf.Duration. All other messages are JSON objects with one entry for each
// field.
func (w wanted) holdsJSON() bool {
	if w.message == nil {
		return w.kind == 0
	}
	switch w.message.FullName() {
	case "google.protobuf.Any", "google.protobuf.Duration", "google.protobuf.Timestamp", "google.protobuf.FieldMask",
		"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue",
		"google.protobuf.BoolValue", "google.protobuf.StringValue", "google.protobuf.BytesValue",
		"google.protobuf.DoubleValue", "google.protobuf.FloatValue", "google.protobuf.Int32Value",
		"google.protobuf.Int64Value", "google.protobuf.UInt32Value", "google.protobuf.UInt64Value":
		return true
	default:
		return false
	}
}

// String returns a description of w for an error.
func (w wanted) String() string {
	text := "a value of type " + w.kind.String()
	if w.message != nil {
		text = "message " + string(w.message.FullName())
	}
	if w.elements {
		text = "a list or map, each element " + text
	}
	return text
}

// mapConverter copies a map so that encoding/json encodes the copy according to the protobuf JSON
// mapping. In the copy, it replaces messages, times, durations, infinite numbers and NaN.
type mapConverter struct{ resolver Resolver }

// convert returns value in a form that can be passed to encoding/json.
func (c mapConverter) convert(value any, w wanted, depth int) (any, error) {
	if depth > maxMapDepth {
		return nil, errors.New("the map is nested too deeply, or it contains itself")
	}
	switch given := value.(type) {
	case nil:
		return nil, nil //nolint:nilnil // nil stands for JSON's null
	case proto.Message:
		return c.message(given, w)
	case time.Time:
		return c.time(given, w)
	case time.Duration:
		return c.duration(given, w)
	}
	v := reflect.ValueOf(value)
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, nil //nolint:nilnil // as above
	}
	if v.Kind() == reflect.Pointer && (!encodesItself(value) || encodesItself(v.Elem().Interface())) {
		return c.convert(v.Elem().Interface(), w, depth+1)
	}
	if encodesItself(value) {
		return value, nil
	}
	switch v.Kind() {
	case reflect.Map:
		return c.entries(v, w, depth)
	case reflect.Slice, reflect.Array:
		return c.list(v, w, depth)
	case reflect.Float32, reflect.Float64:
		if isSpecial(v.Float()) && w.isFloat() {
			return specialNames[fmt.Sprint(v.Float())], nil
		}
	case reflect.Struct:
		if containsMessage(v, depth) {
			return nil, fmt.Errorf("a %T contains a protobuf message: use a map instead of a struct", value)
		}
	}
	return value, nil
}

// entries converts the entries of a map. The map describes a message or the value of a map field.
func (c mapConverter) entries(v reflect.Value, w wanted, depth int) (any, error) {
	if v.IsNil() {
		return nil, nil //nolint:nilnil // nil stands for JSON's null
	}
	find := c.entryFinder(v, w)
	keyType := v.Type().Key()
	// encoding/json cannot encode bool keys, so they become strings.
	if keyType.Kind() == reflect.Bool {
		keyType = reflect.TypeFor[string]()
	}
	converted := reflect.MakeMapWithSize(reflect.MapOf(keyType, reflect.TypeFor[any]()), v.Len())
	for entry := v.MapRange(); entry.Next(); {
		key := fmt.Sprint(entry.Key().Interface())
		inner, err := c.convert(entry.Value().Interface(), find(key), depth+1)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		// If inner is nil, value stays nil, which encoding/json encodes as null.
		value := reflect.New(converted.Type().Elem()).Elem()
		if inner != nil {
			value.Set(reflect.ValueOf(inner))
		}
		if keyType == v.Type().Key() {
			converted.SetMapIndex(entry.Key(), value)
		} else {
			converted.SetMapIndex(reflect.ValueOf(key), value)
		}
	}
	return converted.Interface(), nil
}

// entryFinder returns a function that takes a key of a map and describes the value that belongs to
// this key.
func (c mapConverter) entryFinder(v reflect.Value, w wanted) func(key string) wanted {
	switch {
	case w.elements:
		w.elements = false
		return func(string) wanted { return w }
	case w.isMessage("google.protobuf.Any"):
		return c.anyEntryFinder(v)
	case w.message == nil || w.holdsJSON():
		return func(string) wanted { return wanted{} }
	default:
		return func(key string) wanted { return wantedField(c.field(w.message, key)) }
	}
}

// anyEntryFinder is like entryFinder for a map that describes a google.protobuf.Any.
func (c mapConverter) anyEntryFinder(v reflect.Value) func(key string) wanted {
	unknown := func(string) wanted { return wanted{} }
	entries, ok := reflect.TypeAssert[map[string]any](v)
	if !ok {
		return unknown
	}
	url, _ := entries["@type"].(string)
	packed, err := c.resolver.FindMessageByURL(url)
	if err != nil {
		// protojson will return an error about the unknown message type.
		return unknown
	}
	w := wantedMessage(packed.Descriptor())
	if !w.holdsJSON() {
		return c.entryFinder(v, w)
	}
	return func(key string) wanted {
		if key == "value" {
			return w
		}
		return wanted{}
	}
}

// list converts the elements of a slice or an array. A slice of bytes is a single value, as in
// encoding/json.
func (c mapConverter) list(v reflect.Value, w wanted, depth int) (any, error) {
	if v.Type().Elem().Kind() == reflect.Uint8 || v.Kind() == reflect.Slice && v.IsNil() {
		return v.Interface(), nil
	}
	if !w.elements {
		w = wanted{}
	}
	w.elements = false
	converted := make([]any, v.Len())
	for i := range converted {
		var err error
		if converted[i], err = c.convert(v.Index(i).Interface(), w, depth+1); err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return converted, nil
}

// field returns the field or the extension of a message whose key in JSON is key. It returns nil if
// there is none.
func (c mapConverter) field(message protoreflect.MessageDescriptor, key string) protoreflect.FieldDescriptor {
	if name, isExtension := strings.CutPrefix(key, "["); isExtension {
		extension, err := c.resolver.FindExtensionByName(protoreflect.FullName(strings.TrimSuffix(name, "]")))
		if err != nil {
			return nil
		}
		return extension.TypeDescriptor()
	}
	if field := message.Fields().ByJSONName(key); field != nil {
		return field
	}
	return message.Fields().ByTextName(key)
}

// message converts a message found in a map to JSON.
func (c mapConverter) message(given proto.Message, w wanted) (any, error) {
	if v := reflect.ValueOf(given); v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, nil //nolint:nilnil // nil stands for JSON's null
	}
	descriptor := given.ProtoReflect().Descriptor()
	if descriptor == nil {
		return nil, fmt.Errorf("the message is a %T without a type", given)
	}
	name := descriptor.FullName()
	switch {
	case w.isMessage("google.protobuf.Any") && name != w.message.FullName():
		packed, err := anypb.New(given)
		if err != nil {
			return nil, fmt.Errorf("message %s cannot be encoded: %w", name, err)
		}
		given = packed
	case w.elements, !w.isMessage(name) && !w.isMessage("google.protobuf.Value") &&
		!w.isMessage("google.protobuf.Struct") && w.kind != 0:
		return nil, fmt.Errorf("wanted %s, given message %s", w, name)
	}
	if hasUnknown(given.ProtoReflect()) {
		return nil, fmt.Errorf("message %s has unknown fields, which a map cannot hold: pass the whole request as a message", name)
	}
	encoded, err := protojson.MarshalOptions{Resolver: c.resolver}.Marshal(given)
	if err != nil {
		return nil, fmt.Errorf("message %s cannot be encoded as JSON: %w", name, err)
	}
	return json.RawMessage(encoded), nil
}

// time converts a time for a field of type google.protobuf.Timestamp or string.
func (c mapConverter) time(given time.Time, w wanted) (any, error) {
	switch {
	case w.isMessage("google.protobuf.Timestamp"):
		return c.message(timestamppb.New(given), w)
	case w.elements, w.message != nil && !w.holdsJSON():
		return nil, fmt.Errorf("wanted %s, given a time.Time", w)
	default:
		return given, nil
	}
}

// duration converts a duration. Depending on the field, it becomes a google.protobuf.Duration, a
// string such as "1.5s", or a number of nanoseconds.
func (c mapConverter) duration(given time.Duration, w wanted) (any, error) {
	switch {
	case w.elements, w.message != nil && !w.holdsJSON():
		return nil, fmt.Errorf("wanted %s, given a time.Duration", w)
	case w.isMessage("google.protobuf.Duration"), w.kind == 0, w.kind == protoreflect.StringKind,
		w.isMessage("google.protobuf.Value"), w.isMessage("google.protobuf.StringValue"):
		return c.message(durationpb.New(given), wanted{})
	default:
		return given, nil
	}
}

// specialNames maps the names that package fmt prints for NaN and infinite numbers to the names in
// the protobuf JSON mapping.
var specialNames = map[string]string{"NaN": "NaN", "+Inf": "Infinity", "-Inf": "-Infinity"}

// isSpecial reports whether a number is infinite or NaN. encoding/json refuses such numbers.
func isSpecial(number float64) bool { return math.IsNaN(number) || math.IsInf(number, 0) }

// encodesItself reports whether encoding/json calls a method of value to encode it.
func encodesItself(value any) bool {
	switch value.(type) {
	case json.Marshaler, encoding.TextMarshaler:
		return true
	default:
		return false
	}
}

// containsMessage reports whether v is a protobuf message or contains one at a depth of at most
// maxMapDepth. It searches elements, map values and exported fields. encoding/json does not encode
// unexported fields.
func containsMessage(v reflect.Value, depth int) bool {
	if depth > maxMapDepth || !v.IsValid() || !v.CanInterface() {
		return false
	}
	if _, ok := reflect.TypeAssert[proto.Message](v); ok {
		return true
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return containsMessage(v.Elem(), depth+1)
	case reflect.Struct:
		for _, field := range v.Fields() {
			if containsMessage(field, depth+1) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if containsMessage(v.Index(i), depth+1) {
				return true
			}
		}
	case reflect.Map:
		for entry := v.MapRange(); entry.Next(); {
			if containsMessage(entry.Value(), depth+1) {
				return true
			}
		}
	}
	return false
}

// hasUnknown reports whether a message, or a message nested in it, has unknown fields.
func hasUnknown(message protoreflect.Message) bool {
	found := len(message.GetUnknown()) > 0
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
			if field.MapValue().Message() != nil {
				value.Map().Range(func(_ protoreflect.MapKey, inner protoreflect.Value) bool {
					found = found || hasUnknown(inner.Message())
					return !found
				})
			}
		case field.Message() == nil:
		case field.IsList():
			for i := 0; i < value.List().Len() && !found; i++ {
				found = hasUnknown(value.List().Get(i).Message())
			}
		default:
			found = found || hasUnknown(value.Message())
		}
		return !found
	})
	return found
}
