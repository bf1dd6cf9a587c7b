package message

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

var stringValue = (&wrapperspb.StringValue{}).ProtoReflect().Descriptor()

// unlinked returns the descriptor of a message pkg.name with one string field. The program
// contains no Go type for it, unless a generated type has the same name.
func unlinked(t testing.TB, pkg, name string) protoreflect.MessageDescriptor {
	t.Helper()
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new(pkg + ".proto"), Package: new(pkg), Syntax: new("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: new(name),
			Field: []*descriptorpb.FieldDescriptorProto{{
				Name: new("value"), Number: new(int32(1)),
				Type:  descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
				Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
			}},
		}},
	}, nil)
	require.NoError(t, err)
	return file.Messages().Get(0)
}

func TestResolve_ChoosesTheGoType(t *testing.T) {
	t.Parallel()
	own := unlinked(t, "own", "Message")
	// copied has the name of a generated type, but was created at run time.
	copied := unlinked(t, "google.protobuf", "StringValue")
	for name, tt := range map[string]struct {
		resolve func() (Type, error)
		want    proto.Message
		static  bool
	}{
		"generated":                  {func() (Type, error) { return Resolve[*wrapperspb.StringValue](protoregistry.GlobalTypes, stringValue) }, &wrapperspb.StringValue{}, true},
		"generated, read at runtime": {func() (Type, error) { return Resolve[*wrapperspb.StringValue](protoregistry.GlobalTypes, copied) }, &wrapperspb.StringValue{}, true},
		"dynamic":                    {func() (Type, error) { return Resolve[*dynamicpb.Message](protoregistry.GlobalTypes, stringValue) }, &dynamicpb.Message{}, false},
		"dynamic, unlinked":          {func() (Type, error) { return Resolve[*dynamicpb.Message](protoregistry.GlobalTypes, own) }, &dynamicpb.Message{}, false},
		"interface":                  {func() (Type, error) { return Resolve[proto.Message](protoregistry.GlobalTypes, stringValue) }, &wrapperspb.StringValue{}, false},
		"interface, read at runtime": {func() (Type, error) { return Resolve[proto.Message](protoregistry.GlobalTypes, copied) }, &wrapperspb.StringValue{}, false},
		"interface, unlinked":        {func() (Type, error) { return Resolve[proto.Message](protoregistry.GlobalTypes, own) }, &dynamicpb.Message{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resolved, err := tt.resolve()
			require.NoError(t, err)
			assert.Equal(t, tt.static, resolved.static)
			message, err := resolved.Decode([]byte{0x0a, 2, 'h', 'i'})
			require.NoError(t, err)
			assert.IsType(t, tt.want, message)
			assert.Equal(t, resolved.Name, message.ProtoReflect().Descriptor().FullName())
			value := message.ProtoReflect().Descriptor().Fields().ByNumber(1)
			assert.Equal(t, "hi", message.ProtoReflect().Get(value).String())
			assert.NotSame(t, message, resolved.New(), "New returns a new message each time")
			require.NoError(t, resolved.Check(message))

			_, err = resolved.Decode([]byte{0xff})
			require.ErrorContains(t, err, "message "+string(resolved.Name)+" cannot be decoded")
		})
	}
}

func TestType_Check(t *testing.T) {
	t.Parallel()
	generated, err := Resolve[*wrapperspb.StringValue](protoregistry.GlobalTypes, stringValue)
	require.NoError(t, err)
	dynamic, err := Resolve[proto.Message](protoregistry.GlobalTypes, stringValue)
	require.NoError(t, err)
	own := dynamicpb.NewMessage(unlinked(t, "own", "Message"))
	for name, tt := range map[string]struct {
		t       Type
		message proto.Message
		want    string // empty if the message is valid
	}{
		"generated":                    {generated, wrapperspb.String(""), ""},
		"generated, nil pointer":       {generated, (*wrapperspb.StringValue)(nil), ""},
		"generated, nil":               {generated, nil, "the message is nil"},
		"interface":                    {dynamic, wrapperspb.String(""), ""},
		"interface, nil pointer":       {dynamic, (*wrapperspb.StringValue)(nil), ""},
		"interface, dynamic":           {dynamic, dynamicpb.NewMessage(stringValue), ""},
		"interface, nil":               {dynamic, nil, "the message is nil"},
		"interface, nil dynamic":       {dynamic, (*dynamicpb.Message)(nil), "the message is nil"},
		"interface, untyped dynamic":   {dynamic, &dynamicpb.Message{}, "the message is a *dynamicpb.Message without a type"},
		"interface, other generated":   {dynamic, wrapperspb.Int32(1), "wanted message google.protobuf.StringValue, given google.protobuf.Int32Value"},
		"interface, other dynamic":     {dynamic, own, "wanted message google.protobuf.StringValue, given own.Message"},
		"interface, other nil pointer": {dynamic, (*wrapperspb.Int32Value)(nil), "wanted message google.protobuf.StringValue, given google.protobuf.Int32Value"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.t.Check(tt.message)
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, tt.want)
			}
		})
	}
}

func TestType_RequiredFieldsAreFoundInTheDescriptor(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		message    proto.Message
		noRequired bool
	}{
		{&wrapperspb.StringValue{}, true},
		{&structpb.Struct{}, true}, // a recursive type
		{&descriptorpb.UninterpretedOption_NamePart{}, false},
		{&descriptorpb.UninterpretedOption{}, false}, // a nested message has a required field
		{&descriptorpb.MessageOptions{}, false},      // an extension may have a required field
	} {
		descriptor := test.message.ProtoReflect().Descriptor()
		types, err := Resolve[*dynamicpb.Message](protoregistry.GlobalTypes, descriptor)
		require.NoError(t, err)
		assert.Equal(t, test.noRequired, types.noRequired, descriptor.FullName())
		assert.Equal(t, test.noRequired, types.Body(test.message).Initialized)
	}
}

// Encoding and decoding fail if a required field is missing.
func TestType_MissingRequiredField(t *testing.T) {
	t.Parallel()
	lacking := &descriptorpb.UninterpretedOption{Name: []*descriptorpb.UninterpretedOption_NamePart{{NamePart: new("x")}}}
	types, err := Resolve[*dynamicpb.Message](protoregistry.GlobalTypes, lacking.ProtoReflect().Descriptor())
	require.NoError(t, err)
	_, err = wire.AppendMessageFrame(nil, types.Body(lacking), string(types.Name), 0)
	require.ErrorContains(t, err, "required field")
	encoded, err := proto.MarshalOptions{AllowPartial: true}.Marshal(lacking)
	require.NoError(t, err)
	_, err = types.Decode(encoded)
	require.ErrorContains(t, err, "required field")
}

// handmade implements a message type without generated code. Its zero value is unusable, so its
// messages must be created through the MessageType.
type handmade struct{ protoreflect.Message }

func (h handmade) ProtoReflect() protoreflect.Message {
	if h.Message == nil {
		h.Message = dynamicpb.NewMessageType(stringValue).Zero()
	}
	return h
}

func (h handmade) Type() protoreflect.MessageType       { return handmadeType{h.Message.Type()} }
func (h handmade) New() protoreflect.Message            { return h.Type().New() }
func (h handmade) Interface() protoreflect.ProtoMessage { return h }

type handmadeType struct{ protoreflect.MessageType }

func (t handmadeType) New() protoreflect.Message { return handmade{t.MessageType.New()} }

func TestResolve_HandmadeType(t *testing.T) {
	t.Parallel()
	resolved, err := Resolve[handmade](protoregistry.GlobalTypes, stringValue)
	require.NoError(t, err)
	message, err := resolved.Decode([]byte{0x0a, 2, 'h', 'i'})
	require.NoError(t, err)
	assert.Equal(t, "hi", message.(handmade).Get(stringValue.Fields().ByNumber(1)).String())
}

// The Go type of a message may have a required field that its descriptor at run time lacks.
// Encoding and decoding then check the field nevertheless.
func TestType_MissingRequiredFieldOfTheGoType(t *testing.T) {
	t.Parallel()
	const name = "UninterpretedOption"
	lax := unlinked(t, "google.protobuf", name)
	types, err := Resolve[proto.Message](protoregistry.GlobalTypes, lax)
	require.NoError(t, err)
	require.IsType(t, &descriptorpb.UninterpretedOption{}, types.New())
	lacking := &descriptorpb.UninterpretedOption{Name: []*descriptorpb.UninterpretedOption_NamePart{{}}}
	encoded, err := proto.MarshalOptions{AllowPartial: true}.Marshal(lacking)
	require.NoError(t, err)
	_, err = types.Decode(encoded)
	require.ErrorContains(t, err, "required field")
	_, err = wire.AppendMessageFrame(nil, types.Body(lacking), string(types.Name), 0)
	require.ErrorContains(t, err, "required field")
}

// Resolve returns an error for an interface that the message does not implement, and for a struct
// that only embeds a message.
func TestResolve_WrongGoType(t *testing.T) {
	t.Parallel()
	type wider interface {
		proto.Message
		Wider()
	}
	type embedding struct{ *wrapperspb.StringValue }
	for want, resolve := range map[string]func() (Type, error){
		"*wrapperspb.StringValue for message google.protobuf.StringValue is no message.wider": func() (Type, error) {
			return Resolve[wider](protoregistry.GlobalTypes, stringValue)
		},
		"*message.embedding is no message type generated by protoc-gen-go": func() (Type, error) {
			return Resolve[*embedding](protoregistry.GlobalTypes, stringValue)
		},
		"message.embedding is not a message type, it only embeds a *wrapperspb.StringValue": func() (Type, error) {
			return Resolve[embedding](protoregistry.GlobalTypes, stringValue)
		},
		"wanted message google.protobuf.StringValue, given *wrapperspb.Int32Value, " +
			"which is message google.protobuf.Int32Value": func() (Type, error) {
			return Resolve[*wrapperspb.Int32Value](protoregistry.GlobalTypes, stringValue)
		},
	} {
		_, err := resolve()
		require.EqualError(t, err, want)
	}
}

func TestType_Convert(t *testing.T) {
	t.Parallel()
	generated, err := Resolve[*wrapperspb.StringValue](protoregistry.GlobalTypes, stringValue)
	require.NoError(t, err)
	given := wrapperspb.String("hi")
	same, err := generated.Convert(given)
	require.NoError(t, err)
	assert.Same(t, given, same)

	dynamic := dynamicpb.NewMessage(stringValue)
	dynamic.Set(stringValue.Fields().ByNumber(1), protoreflect.ValueOfString("hi"))
	converted, err := generated.Convert(dynamic)
	require.NoError(t, err)
	require.IsType(t, given, converted)
	assert.True(t, proto.Equal(given, converted))

	for _, wrong := range []proto.Message{nil, wrapperspb.Int32(1), (*dynamicpb.Message)(nil)} {
		_, err = generated.Convert(wrong)
		require.Error(t, err)
	}
}

// Encode returns the original bytes of an unchanged message, even if encoding it again would yield
// other bytes.
func TestType_EncodeKeepsUnchangedBytes(t *testing.T) {
	t.Parallel()
	types, err := Resolve[*wrapperspb.StringValue](protoregistry.GlobalTypes, stringValue)
	require.NoError(t, err)
	// If a field occurs twice, the last value counts.
	original := []byte{0x0a, 1, 'x', 0x0a, 2, 'h', 'i'}
	message, err := types.Decode(original)
	require.NoError(t, err)
	encoded, err := types.Encode(message, original)
	require.NoError(t, err)
	assert.Equal(t, original, encoded)

	message.(*wrapperspb.StringValue).Value = "ho"
	encoded, err = types.Encode(message, original)
	require.NoError(t, err)
	assert.Equal(t, []byte{0x0a, 2, 'h', 'o'}, encoded)

	_, err = types.Encode(wrapperspb.Int32(1), original)
	require.ErrorContains(t, err, "wanted message google.protobuf.StringValue")
}
