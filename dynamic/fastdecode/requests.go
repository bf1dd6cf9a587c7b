package fastdecode

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Requests speeds up the decoding of a handler's requests, or of the messages that a stream
// receives. The decoded messages are read-only. The handler must take a proto.Message; otherwise,
// Register returns an error. The option may be used for several handlers. Each handler compiles its
// own parser when it is registered. This takes about as long as decoding a few requests.
func Requests() dynamic.DecoderOption {
	return dynamic.WithRequestDecoder(newDecoder)
}

// decoder decodes messages of one type.
type decoder = func(encoded []byte) (proto.Message, error)

// newDecoder returns a decoder that uses hyperpb for requests that the filter admits and dynamicpb
// for all others. If hyperpb returns an error, dynamicpb decodes the request again. The text of an
// error thus always comes from dynamicpb.
func newDecoder(request protoreflect.MessageDescriptor) (decoder, error) {
	fastDecode, slowDecode := compile(request), dynamicDecoder(request)
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

func dynamicDecoder(request protoreflect.MessageDescriptor) decoder {
	return func(encoded []byte) (proto.Message, error) {
		message := dynamicpb.NewMessage(request)
		return message, proto.Unmarshal(encoded, message)
	}
}
