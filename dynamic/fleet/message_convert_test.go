package fleet

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Every message of the schema must have a struct, and every field of the message must be in it.
func TestMessages_HaveStructs(t *testing.T) {
	t.Parallel()
	converted := map[protoreflect.FullName]int{}
	for _, m := range messageTypes() {
		converted[m.descriptor.FullName()] = len(m.fields)
	}
	messages := fleetService().Descriptor().ParentFile().Messages()
	for i := range messages.Len() {
		m := messages.Get(i)
		fields, ok := converted[m.FullName()]
		assert.True(t, ok, "message %s has no struct", m.Name())
		assert.Equal(t, m.Fields().Len(), fields, "fields of the struct of %s", m.Name())
	}
}

// A struct whose fields are all set must be the same after it has been sent.
func TestMessages_KeepEverything(t *testing.T) {
	t.Parallel()
	for name, goType := range goTypes {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			want := reflect.New(goType).Elem()
			count := 0
			fill(want, &count)
			encoded, err := proto.Marshal(newMessage(want))
			require.NoError(t, err)
			message := dynamicpb.NewMessage(descriptorOf(name))
			require.NoError(t, proto.Unmarshal(encoded, message))
			got := reflect.New(goType).Elem()
			readMessage(message, got)
			assert.Equal(t, want.Interface(), got.Interface())
		})
	}
}

// fill sets all fields to different values. It skips those that are not sent.
func fill(value reflect.Value, count *int) {
	*count++
	switch value.Type() {
	case timeType:
		value.Set(reflect.ValueOf(time.Unix(0, int64(*count))))
		return
	case digestType:
		value.Set(reflect.ValueOf(Digest{byte(*count)}))
		return
	}
	switch value.Kind() {
	case reflect.Struct:
		for i := range value.NumField() {
			if value.Type().Field(i).Tag.Get("fleet") != "-" {
				fill(value.Field(i), count)
			}
		}
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fill(value.Elem(), count)
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 2, 2))
		fill(value.Index(0), count)
		fill(value.Index(1), count)
	case reflect.Map:
		value.Set(reflect.MakeMap(value.Type()))
		key, element := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
		fill(key, count)
		fill(element, count)
		value.SetMapIndex(key, element)
	case reflect.String:
		value.SetString(fmt.Sprint("text ", *count))
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Float32, reflect.Float64:
		value.SetFloat(float64(*count))
	default:
		if value.CanUint() {
			value.SetUint(uint64(*count % 100))
		} else {
			value.SetInt(int64(*count % 100))
		}
	}
}

func TestMessages_EmptyStructsTakeNoBytes(t *testing.T) {
	t.Parallel()
	encoded, err := proto.Marshal(toMessage(&Server{}))
	require.NoError(t, err)
	assert.Empty(t, encoded)
}

// Values that this package does not use itself must be converted too: a peer may send any number,
// and a program may use any string.
func TestMessages_UnusualValues(t *testing.T) {
	t.Parallel()
	encoded, err := proto.Marshal(toMessage(&Server{ID: "SRV_\xff", App: strings.Repeat("a", 1<<16)}))
	require.NoError(t, err, "a string that is not valid UTF-8 must not prevent an answer")
	message := dynamicpb.NewMessage(descriptorOf("QueryResponse"))
	require.NoError(t, proto.Unmarshal(encoded, message))
	assert.Equal(t, "SRV_\uFFFD", fromMessage[Server](message).ID)

	method := dynamicpb.NewMessage(descriptorOf("Method"))
	fields := method.Descriptor().Fields()
	method.Set(fields.ByName("kind"), protoreflect.ValueOfEnum(-1))
	method.Set(fields.ByName("routing"), protoreflect.ValueOfEnum(1000))
	read := fromMessage[Method](method)
	assert.Equal(t, registry.Kind(math.MaxUint8), read.Kind)
	assert.Equal(t, registry.Routing(math.MaxUint8), read.Routing)

	histogram := dynamicpb.NewMessage(descriptorOf("Histogram"))
	histogram.Set(histogram.Descriptor().Fields().ByName("sum"), protoreflect.ValueOfUint64(math.MaxUint64))
	assert.Equal(t, time.Duration(math.MaxInt64), fromMessage[Histogram](histogram).Sum)

	service := dynamicpb.NewMessage(descriptorOf("Service"))
	service.Set(service.Descriptor().Fields().ByName("digest"), protoreflect.ValueOfBytes([]byte("short")))
	assert.Zero(t, fromMessage[Service](service).Digest)
}

// The enums of this package and of package registry must have the numbers of the schema.
func TestEnums_MatchTheSchema(t *testing.T) {
	t.Parallel()
	for name, text := range map[protoreflect.Name]func(n protoreflect.EnumNumber) string{
		"Part":          func(n protoreflect.EnumNumber) string { return Part(n).String() },
		"State":         func(n protoreflect.EnumNumber) string { return State(n).String() },
		"ServingStatus": func(n protoreflect.EnumNumber) string { return ServingStatus(n).String() },
		"ChangeKind":    func(n protoreflect.EnumNumber) string { return ChangeKind(n).String() },
		"TapKind":       func(n protoreflect.EnumNumber) string { return TapKind(n).String() },
		"Kind":          func(n protoreflect.EnumNumber) string { return registry.Kind(n).String() },
		"Routing":       func(n protoreflect.EnumNumber) string { return registry.Routing(n).String() },
	} {
		values := fleetService().Descriptor().ParentFile().Enums().ByName(name).Values()
		for i := range values.Len() {
			full := strings.ToLower(string(values.Get(i).Name()))
			assert.True(t, strings.HasSuffix(full, "_"+text(values.Get(i).Number())), full)
		}
	}
	assert.Equal(t, "state(9)", State(9).String())
	assert.Equal(t, "part(-1)", Part(-1).String())
}
