package fastdecode

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Requests speeds up the decoding of a handler's requests, or of the messages that a stream
// receives. The decoded messages are read-only. The handler must take a proto.Message; otherwise,
// Register returns an error. The option may be used for several handlers. Each handler compiles its
// own parser when it is registered. This takes about as long as decoding a few requests.
func Requests() dynamic.HandlerOption {
	return dynamic.WithMethodDecoder(func(method *registry.Method) (decoder, error) {
		return newDecoder(method.Input(), method.Service())
	})
}

// decoder decodes messages of one type.
type decoder = func(encoded []byte) (proto.Message, error)

// newDecoder returns a decoder that uses hyperpb for requests that pass a filter (see [filter]) and
// dynamicpb for all others. If hyperpb returns an error, dynamicpb decodes the request again. The
// text of an error thus always comes from dynamicpb.
func newDecoder(request protoreflect.MessageDescriptor, resolver resolver) (decoder, error) {
	fastDecode, slowDecode := compile(request), dynamicDecoder(request, resolver)
	if fastDecode == nil {
		return slowDecode, nil
	}
	filter := newFilter(request, map[protoreflect.MessageDescriptor]*filter{})
	return func(encoded []byte) (proto.Message, error) {
		if filter.admits(encoded, maxDepth) {
			if message, err := fastDecode(encoded); err == nil {
				return message, nil
			}
		}
		return slowDecode(encoded)
	}, nil
}

// resolver finds the types of extensions and messages.
type resolver interface {
	protoregistry.ExtensionTypeResolver
	protoregistry.MessageTypeResolver
}

func dynamicDecoder(request protoreflect.MessageDescriptor, resolver resolver) decoder {
	options := proto.UnmarshalOptions{Resolver: resolver}
	return func(encoded []byte) (proto.Message, error) {
		message := dynamicpb.NewMessage(request)
		return message, options.Unmarshal(encoded, message)
	}
}
