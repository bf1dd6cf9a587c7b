package fastdecode

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Requests makes a handler's requests, or the messages that a stream receives, read only and fast to decode. It is
// for functions that take proto.Message; with others Register fails. It may be given to any number of handlers; each
// compiles a parser of its own when it is registered, which takes about as long as decoding some requests.
func Requests() dynamic.DecoderOption {
	return dynamic.WithRequestDecoder(newDecoder)
}

// decoder decodes the messages of one descriptor.
type decoder = func(encoded []byte) (proto.Message, error)

func newDecoder(request protoreflect.MessageDescriptor) (decoder, error) {
	fast, plain := compile(request), plainDecoder(request)
	if fast == nil {
		return plain, nil
	}
	admitted := newShape(request, map[protoreflect.MessageDescriptor]*shape{})
	return func(encoded []byte) (proto.Message, error) {
		if admitted.admits(encoded, maxDepth) {
			if message, err := fast(encoded); err == nil {
				return message, nil
			}
		}
		return plain(encoded)
	}, nil
}

func plainDecoder(request protoreflect.MessageDescriptor) decoder {
	return func(encoded []byte) (proto.Message, error) {
		message := dynamicpb.NewMessage(request)
		return message, proto.Unmarshal(encoded, message)
	}
}
