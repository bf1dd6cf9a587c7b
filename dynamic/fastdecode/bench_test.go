package fastdecode

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// BenchmarkDecode measures decoding a small message, and a nested one of 13 KB with about a
// thousand fields.
func BenchmarkDecode(b *testing.B) {
	for _, bb := range []struct {
		name    string
		empty   proto.Message
		encoded []byte
	}{
		{"small", &wrapperspb.StringValue{}, marshal(b, wrapperspb.String("hello there"))},
		{"nested", &descriptorpb.FileDescriptorProto{}, described(b)},
	} {
		generated := bb.empty.ProtoReflect()
		fast, err := newDecoder(generated.Descriptor(), protoregistry.GlobalTypes)
		require.NoError(b, err)
		for _, kind := range []struct {
			name   string
			decode decoder
		}{
			{"generated", func(encoded []byte) (proto.Message, error) {
				message := generated.New().Interface()
				return message, proto.Unmarshal(encoded, message)
			}},
			{"dynamicpb", dynamicDecoder(generated.Descriptor(), protoregistry.GlobalTypes)},
			{"fastdecode", fast},
		} {
			b.Run(bb.name+"/"+kind.name, func(b *testing.B) { benchmark(b, kind.decode, bb.encoded, 0) })
			b.Run(bb.name+"/"+kind.name+"-and-read", func(b *testing.B) { benchmark(b, kind.decode, bb.encoded, 1) })
		}
	}
}

func benchmark(b *testing.B, decode decoder, encoded []byte, reads int) {
	b.ReportAllocs()
	b.SetBytes(int64(len(encoded)))
	for b.Loop() {
		message, err := decode(encoded)
		if err != nil {
			b.Fatal(err)
		}
		for range reads {
			read(message.ProtoReflect())
		}
	}
}

// read visits every field of a message that contains no maps.
func read(message protoreflect.Message) {
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil:
		case field.IsList():
			for i := range value.List().Len() {
				read(value.List().Get(i).Message())
			}
		default:
			read(value.Message())
		}
		return true
	})
}

// BenchmarkAdmits measures how long the filter takes to check whether hyperpb may decode a
// message.
func BenchmarkAdmits(b *testing.B) {
	encoded := described(b)
	s := newFilter((&descriptorpb.FileDescriptorProto{}).ProtoReflect().Descriptor(), map[protoreflect.MessageDescriptor]*filter{})
	b.SetBytes(int64(len(encoded)))
	for b.Loop() {
		if !s.admits(encoded, maxDepth) {
			b.Fatal("not admitted")
		}
	}
}

// BenchmarkCompile measures how long it takes to create a decoder, which happens when a handler is
// registered.
func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := newDecoder((&descriptorpb.FileDescriptorProto{}).ProtoReflect().Descriptor(), protoregistry.GlobalTypes); err != nil {
			b.Fatal(err)
		}
	}
}
