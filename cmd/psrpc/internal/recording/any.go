package recording

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// anyName is the full name of the message Any. It identifies an Any even in a dynamic message,
// where the Go type is not *anypb.Any.
const anyName protoreflect.FullName = "google.protobuf.Any"

// These are the numbers of the fields type_url and value of an Any.
const anyURL, anyValue protoreflect.FieldNumber = 1, 2

// maxAnys is the maximum nesting depth of the messages of type Any that are decoded. Decoding each
// of them copies its content, so without a limit, a small message could need much memory.
const maxAnys = 16

// isAny reports whether a message is an Any.
func isAny(message protoreflect.Message) bool { return message.Descriptor().FullName() == anyName }

// unpack decodes the message in an Any.
func unpack(message protoreflect.Message, service *registry.Service) (inner proto.Message, url string, err error) {
	fields := message.Descriptor().Fields()
	packed := &anypb.Any{
		TypeUrl: message.Get(fields.ByNumber(anyURL)).String(),
		Value:   message.Get(fields.ByNumber(anyValue)).Bytes(),
	}
	inner, err = anypb.UnmarshalNew(packed, proto.UnmarshalOptions{Resolver: service})
	return inner, packed.GetTypeUrl(), err
}
