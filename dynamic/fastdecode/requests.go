package fastdecode

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Requests makes the requests of a handler, or the messages that a stream receives, read-only and
// fast to decode. It is for handlers that take proto.Message; Register fails for others. The option
// may be given to several handlers. Each compiles its own parser when it is registered, which takes
// about as long as decoding a few requests.
func Requests() dynamic.DecoderOption {
	return dynamic.WithRequestDecoder(newDecoder)
}

// decoder decodes the messages of one descriptor.
type decoder = func(encoded []byte) (proto.Message, error)

// newDecoder returns a decoder that uses hyperpb for the requests that the filter admits and
// dynamicpb for the others. An error of hyperpb is not returned: dynamicpb decodes the request
// again, so that the error text does not depend on the decoder.
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
