package fleet

import (
	"context"
	"math"
	"reflect"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// This file converts between the structs of types.go and the messages of the schema. Each field has
// the Go type of its protobuf type, with these exceptions:
//
//   - time.Time is an int64 in Unix nanoseconds. The zero time is 0.
//   - time.Duration is a number of nanoseconds.
//   - Digest is bytes.
//   - A message is a struct or a pointer to a struct, which is nil if the message is not set.

// goTypes contains the structs of the messages that are sent on their own, such as requests and
// responses, keyed by the simple names of the messages. Structs that occur only in fields of these
// structs are not listed.
var goTypes = map[protoreflect.Name]reflect.Type{
	"QueryRequest":         reflect.TypeFor[queryRequest](),
	"QueryResponse":        reflect.TypeFor[Server](),
	"DescribeRequest":      reflect.TypeFor[describeRequest](),
	"DescribeResponse":     reflect.TypeFor[describeResponse](),
	"ChangesRequest":       reflect.TypeFor[changesRequest](),
	"Change":               reflect.TypeFor[Change](),
	"TapRequest":           reflect.TypeFor[TapRequest](),
	"TapEvent":             reflect.TypeFor[TapEvent](),
	"DrainRequest":         reflect.TypeFor[drainRequest](),
	"DrainResponse":        reflect.TypeFor[drainResponse](),
	"ResumeRequest":        reflect.TypeFor[resumeRequest](),
	"ResumeResponse":       reflect.TypeFor[resumeResponse](),
	"SetLogLevelRequest":   reflect.TypeFor[setLogLevelRequest](),
	"SetLogLevelResponse":  reflect.TypeFor[setLogLevelResponse](),
	"ReloadPluginRequest":  reflect.TypeFor[reloadPluginRequest](),
	"ReloadPluginResponse": reflect.TypeFor[reloadPluginResponse](),
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	digestType   = reflect.TypeFor[Digest]()
	durationType = reflect.TypeFor[time.Duration]()
)

// messageType describes the conversion between a struct and a message.
type messageType struct {
	descriptor protoreflect.MessageDescriptor
	fields     []messageField
}

// messageField is a field of a message and of its struct.
type messageField struct {
	// index is the index of the field in the struct.
	index      int
	descriptor protoreflect.FieldDescriptor
}

// messageTypes returns the conversions of all structs in types.go.
var messageTypes = sync.OnceValue(func() map[reflect.Type]*messageType {
	types := make(map[reflect.Type]*messageType)
	for name, goType := range goTypes {
		addMessageType(types, goType, descriptorOf(name))
	}
	return types
})

// addMessageType adds the conversion of a struct, and the conversions of the structs in its fields.
func addMessageType(types map[reflect.Type]*messageType, goType reflect.Type, descriptor protoreflect.MessageDescriptor) {
	if types[goType] != nil {
		return
	}
	t := &messageType{descriptor: descriptor}
	types[goType] = t
	for i := range goType.NumField() {
		name := goType.Field(i).Tag.Get("fleet")
		if name == "-" {
			continue
		}
		field := descriptor.Fields().ByName(protoreflect.Name(name))
		if field == nil {
			panic("fleet: message " + string(descriptor.FullName()) + " has no field " + name)
		}
		t.fields = append(t.fields, messageField{i, field})
		element := goType.Field(i).Type
		if field.IsList() || element.Kind() == reflect.Pointer {
			element = element.Elem()
		}
		if !field.IsMap() && field.Message() != nil {
			addMessageType(types, element, field.Message())
		}
	}
}

// toMessage converts a struct to its message. It does not retain the struct.
func toMessage[T any](value *T) *dynamicpb.Message {
	return newMessage(reflect.ValueOf(value).Elem())
}

// fromMessage converts a message to its struct. It does not retain the message.
func fromMessage[T any](message proto.Message) *T {
	value := new(T)
	readMessage(message.ProtoReflect(), reflect.ValueOf(value).Elem())
	return value
}

func newMessage(value reflect.Value) *dynamicpb.Message {
	t := messageTypes()[value.Type()]
	message := dynamicpb.NewMessage(t.descriptor)
	for _, field := range t.fields {
		if v := value.Field(field.index); !v.IsZero() {
			setField(message, field.descriptor, v)
		}
	}
	return message
}

func setField(message protoreflect.Message, field protoreflect.FieldDescriptor, value reflect.Value) {
	switch {
	case field.IsList():
		list := message.Mutable(field).List()
		for i := range value.Len() {
			list.Append(toValue(field, value.Index(i)))
		}
	case field.IsMap():
		entries := message.Mutable(field).Map()
		for key, v := range value.Seq2() {
			entries.Set(toValue(field.MapKey(), key).MapKey(), toValue(field.MapValue(), v))
		}
	default:
		message.Set(field, toValue(field, value))
	}
}

// toValue converts a Go value to the protobuf type of a field. If the field is repeated, value is
// one of its elements.
func toValue(field protoreflect.FieldDescriptor, value reflect.Value) protoreflect.Value {
	switch value.Type() {
	case timeType:
		return protoreflect.ValueOfInt64(unixNano(value.Interface().(time.Time)))
	case digestType:
		digest := value.Interface().(Digest)
		return protoreflect.ValueOfBytes(digest[:])
	}
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(value.Bool())
	case protoreflect.StringKind:
		// A string that is not valid UTF-8 could not be encoded.
		return protoreflect.ValueOfString(strings.ToValidUTF8(value.String(), "\uFFFD"))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(value.Bytes())
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(value.Float()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(value.Float())
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(toInt(value))) //nolint:gosec // enums have 32 bits
	case protoreflect.Int32Kind, protoreflect.Sint32Kind:
		return protoreflect.ValueOfInt32(int32(toInt(value))) //nolint:gosec // the field has 32 bits
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(toInt(value))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(toInt(value))) //nolint:gosec // the field has 32 bits
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(toInt(value))) //nolint:gosec // the bits are kept
	case protoreflect.MessageKind:
		return protoreflect.ValueOfMessage(newMessage(reflect.Indirect(value)))
	}
	panic("fleet: fields of type " + field.Kind().String() + " are not supported")
}

// toInt converts a signed or unsigned number to an int64 with the same bits.
func toInt(value reflect.Value) int64 {
	if value.CanUint() {
		return int64(value.Uint()) //nolint:gosec // the bits are kept
	}
	return value.Int()
}

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// readMessage copies the fields of a message to a struct whose fields are still zero.
func readMessage(message protoreflect.Message, value reflect.Value) {
	for _, field := range messageTypes()[value.Type()].fields {
		if message.Has(field.descriptor) {
			readField(message.Get(field.descriptor), field.descriptor, value.Field(field.index))
		}
	}
}

func readField(from protoreflect.Value, field protoreflect.FieldDescriptor, value reflect.Value) {
	switch {
	case field.IsList():
		list := from.List()
		value.Set(reflect.MakeSlice(value.Type(), list.Len(), list.Len()))
		for i := range list.Len() {
			readValue(list.Get(i), field, value.Index(i))
		}
	case field.IsMap():
		value.Set(reflect.MakeMapWithSize(value.Type(), from.Map().Len()))
		from.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			key, element := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
			readValue(k.Value(), field.MapKey(), key)
			readValue(v, field.MapValue(), element)
			value.SetMapIndex(key, element)
			return true
		})
	default:
		readValue(from, field, value)
	}
}

// readValue stores a value of the given field in value, as a Go value. The parameter from is the
// value of the field or, if the field is repeated, one of its elements.
func readValue(from protoreflect.Value, field protoreflect.FieldDescriptor, value reflect.Value) {
	switch value.Type() {
	case timeType:
		value.Set(reflect.ValueOf(time.Unix(0, from.Int())))
		return
	case digestType:
		var digest Digest
		if len(from.Bytes()) == len(digest) {
			copy(digest[:], from.Bytes())
		}
		value.Set(reflect.ValueOf(digest))
		return
	}
	switch field.Kind() {
	case protoreflect.BoolKind:
		value.SetBool(from.Bool())
	case protoreflect.StringKind:
		value.SetString(from.String())
	case protoreflect.BytesKind:
		value.SetBytes(from.Bytes())
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		value.SetFloat(from.Float())
	case protoreflect.EnumKind:
		setEnum(value, from.Enum())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Int64Kind:
		value.SetInt(from.Int())
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		setUint(value, from.Uint())
	case protoreflect.MessageKind:
		if value.Kind() == reflect.Pointer {
			value.Set(reflect.New(value.Type().Elem()))
			value = value.Elem()
		}
		readMessage(from.Message(), value)
	}
}

// setEnum sets an enum. Enums of this package have 32 bits, and those of package registry have 8.
// For the latter, a number above 255, which only a newer peer sends, becomes 255.
func setEnum(value reflect.Value, number protoreflect.EnumNumber) {
	if value.CanInt() {
		value.SetInt(int64(number))
		return
	}
	value.SetUint(uint64(min(uint32(number), math.MaxUint8))) //nolint:gosec // a negative number is too large
}

// setUint sets an unsigned integer or a duration. A duration that is too long becomes the longest
// possible one.
func setUint(value reflect.Value, number uint64) {
	if value.Type() == durationType {
		value.SetInt(int64(min(number, math.MaxInt64)))
		return
	}
	value.SetUint(number)
}

// unaryHandler returns a handler that takes and returns structs. If handle returns neither a
// response nor an error, an empty message is sent.
func unaryHandler[Req, Resp any](
	handle func(ctx context.Context, request *Req) (*Resp, error), opts ...dynamic.HandlerOption,
) dynamic.Handler {
	return dynamic.Unary(func(ctx context.Context, request *dynamicpb.Message) (*dynamicpb.Message, error) {
		response, err := handle(ctx, fromMessage[Req](request))
		if err != nil || response == nil {
			return nil, err
		}
		return toMessage(response), nil
	}, opts...)
}
