package dynamic

import (
	"fmt"
	"reflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// RequestDecoder returns a function that decodes the requests of a method. It is called once, when
// the handler is registered, with the descriptor of the method's request. If it returns an error
// the registration fails.
//
// The function decode is called for each request, concurrently by many goroutines. It returns a new
// message of that descriptor, which the handler then owns. The encoded bytes are never changed and
// may be kept, so the message may reference them. If decode returns an error or panics, the call is
// answered, or the stream closed, with malformed_request.
type RequestDecoder func(request protoreflect.MessageDescriptor) (
	decode func(encoded []byte) (proto.Message, error), err error)

// DecoderOption configures how requests are decoded. It can be passed to [Unary] and to [Stream].
type DecoderOption interface {
	HandlerOption
	StreamHandlerOption
}

// WithRequestDecoder sets the function that decodes the requests of the handler, or the messages
// that a stream receives. It requires a handler that takes proto.Message itself: with any other
// request type, and with [Raw], Register fails. By default, requests are decoded into the linked Go
// type if there is one, and otherwise into dynamicpb messages. Package dynamic/fastdecode has a
// faster decoder.
func WithRequestDecoder(decoder RequestDecoder) DecoderOption {
	return decoderOption(decoder)
}

type decoderOption RequestDecoder

func (d decoderOption) bindOption(bound *boundHandler, method *registry.Method) error {
	if bound.raw {
		return errors.New(
			"WithRequestDecoder: wanted a function that takes proto.Message, but the function takes bytes")
	}
	return d.replace(&bound.requestType, method.Input())
}

func (d decoderOption) bindStream(bound *boundStream, method *registry.Method) error {
	return d.replace(&bound.recvType, method.Input())
}

// replace makes requests use the decoder.
func (d decoderOption) replace(requests *message.Type, descriptor protoreflect.MessageDescriptor) error {
	if d == nil {
		return errors.New("the request decoder is nil")
	}
	anyMessage := reflect.TypeFor[proto.Message]()
	if requests.GoType != anyMessage {
		return fmt.Errorf("WithRequestDecoder: wanted a function that takes proto.Message, given one that takes %s",
			requests.GoType)
	}
	decode, err := d(descriptor)
	if err != nil {
		return fmt.Errorf("request decoder: %w", err)
	}
	if decode == nil {
		return errors.New("the request decoder returned no function")
	}
	requests.Decoder, requests.DecodedType = decode, anyMessage
	return nil
}
