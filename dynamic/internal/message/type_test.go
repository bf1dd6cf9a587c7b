package message

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

var stringValue = (&wrapperspb.StringValue{}).ProtoReflect().Descriptor()

// unlinked returns a message that has no Go type: own.Message with a text field 1, or another name.
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

func TestResolveMessageType_MakesTheGoType(t *testing.T) {
	t.Parallel()
	own := unlinked(t, "own", "Message")
	// A descriptor of the user's own, from a file read at run time, with the name of a linked type.
	copied := unlinked(t, "google.protobuf", "StringValue")
	for name, tt := range map[string]struct {
		resolve func() (Type, error)
		want    proto.Message
		checked bool
	}{
		"generated":                  {func() (Type, error) { return Resolve[*wrapperspb.StringValue](stringValue) }, &wrapperspb.StringValue{}, true},
		"generated, read at runtime": {func() (Type, error) { return Resolve[*wrapperspb.StringValue](copied) }, &wrapperspb.StringValue{}, true},
		"dynamic":                    {func() (Type, error) { return Resolve[*dynamicpb.Message](stringValue) }, &dynamicpb.Message{}, false},
		"dynamic, unlinked":          {func() (Type, error) { return Resolve[*dynamicpb.Message](own) }, &dynamicpb.Message{}, false},
		"interface":                  {func() (Type, error) { return Resolve[proto.Message](stringValue) }, &wrapperspb.StringValue{}, false},
		"interface, read at runtime": {func() (Type, error) { return Resolve[proto.Message](copied) }, &wrapperspb.StringValue{}, false},
		"interface, unlinked":        {func() (Type, error) { return Resolve[proto.Message](own) }, &dynamicpb.Message{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resolved, err := tt.resolve()
			require.NoError(t, err)
			assert.Equal(t, tt.checked, resolved.static)
			message, err := resolved.Decode([]byte{0x0a, 2, 'h', 'i'})
			require.NoError(t, err)
			assert.IsType(t, tt.want, message)
			assert.Equal(t, resolved.Name, message.ProtoReflect().Descriptor().FullName())
			value := message.ProtoReflect().Descriptor().Fields().ByNumber(1)
			assert.Equal(t, "hi", message.ProtoReflect().Get(value).String())
			assert.NotSame(t, message, resolved.New(), "a message of its own each time")
			require.NoError(t, resolved.Check(message))

			_, err = resolved.Decode([]byte{0xff})
			require.ErrorContains(t, err, "message "+string(resolved.Name)+" cannot be decoded")
		})
	}
}

func TestMessageType_Check(t *testing.T) {
	t.Parallel()
	generated, err := Resolve[*wrapperspb.StringValue](stringValue)
	require.NoError(t, err)
	dynamic, err := Resolve[proto.Message](stringValue)
	require.NoError(t, err)
	own := dynamicpb.NewMessage(unlinked(t, "own", "Message"))
	for name, tt := range map[string]struct {
		t       Type
		message proto.Message
		want    string // empty if the message is good
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

func TestMessageType_CompleteWithoutRequiredFields(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		message  proto.Message
		complete bool
	}{
		{&wrapperspb.StringValue{}, true},
		{&structpb.Struct{}, true}, // holds itself
		{&descriptorpb.UninterpretedOption_NamePart{}, false},
		{&descriptorpb.UninterpretedOption{}, false}, // holds one that has some
		{&descriptorpb.MessageOptions{}, false},      // extensions may have some
	} {
		descriptor := test.message.ProtoReflect().Descriptor()
		types, err := Resolve[*dynamicpb.Message](descriptor)
		require.NoError(t, err)
		assert.Equal(t, test.complete, types.noRequired, descriptor.FullName())
		assert.Equal(t, test.complete, types.Body(test.message).Initialized)
	}
}

// A required field that is missing is noticed when a message is encoded and when it is decoded.
func TestMessageType_RequiredFieldsAreLookedFor(t *testing.T) {
	t.Parallel()
	lacking := &descriptorpb.UninterpretedOption{Name: []*descriptorpb.UninterpretedOption_NamePart{{NamePart: new("x")}}}
	types, err := Resolve[*dynamicpb.Message](lacking.ProtoReflect().Descriptor())
	require.NoError(t, err)
	_, err = wire.AppendMessageFrame(nil, types.Body(lacking), string(types.Name), 0)
	require.ErrorContains(t, err, "required field")
	encoded, err := proto.MarshalOptions{AllowPartial: true}.Marshal(lacking)
	require.NoError(t, err)
	_, err = types.Decode(encoded)
	require.ErrorContains(t, err, "required field")
}

// handmade is a message that was not generated: one made by reflection, instead of by its type, is of no use.
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

func TestResolveMessageType_NotGenerated(t *testing.T) {
	t.Parallel()
	resolved, err := Resolve[handmade](stringValue)
	require.NoError(t, err)
	message, err := resolved.Decode([]byte{0x0a, 2, 'h', 'i'})
	require.NoError(t, err)
	assert.Equal(t, "hi", message.(handmade).Get(stringValue.Fields().ByNumber(1)).String())
}

// The linked Go type of a message may have required fields that its descriptor at run time does not have.
func TestMessageType_RequiredFieldsOfTheGoType(t *testing.T) {
	t.Parallel()
	const name = "UninterpretedOption"
	lax := unlinked(t, "google.protobuf", name)
	types, err := Resolve[proto.Message](lax)
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
