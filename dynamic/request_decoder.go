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

// RequestDecoder prepares to decode the requests of a method: it is called once, when the handler is registered, with
// the descriptor of the method's request. An error of its own fails the registration.
//
// The function that it returns is called for each request, also by many goroutines at the same time. It makes a new
// message of that descriptor, which the handler then owns. The bytes are never changed and may be kept, so the message
// may share them. What it returns as an error, and a panic, answers the call, or closes the stream, with
// malformed_request.
type RequestDecoder func(request protoreflect.MessageDescriptor) (
	decode func(encoded []byte) (proto.Message, error), err error)

// DecoderOption configures how a handler's requests are decoded: it is given to [Unary] or to [Stream].
type DecoderOption interface {
	HandlerOption
	StreamHandlerOption
}

// WithRequestDecoder sets what decodes the handler's requests, or the messages that a stream receives. It is for
// functions that take proto.Message itself: with any other request type, and with [Raw], Register fails. The default is
// the linked Go type if there is one, and otherwise dynamicpb; package dynamic/fastdecode has a faster one.
func WithRequestDecoder(decoder RequestDecoder) DecoderOption {
	return decoderOption(decoder)
}

type decoderOption RequestDecoder

func (d decoderOption) bindOption(bound *boundHandler, method *registry.Method) error {
	if bound.raw {
		return errors.New("there is a request decoder, but the function takes bytes")
	}
	return d.replace(&bound.requestType, method.Input())
}

func (d decoderOption) bindStream(bound *boundStream, method *registry.Method) error {
	return d.replace(&bound.recvType, method.Input())
}

func (d decoderOption) replace(requests *message.Type, descriptor protoreflect.MessageDescriptor) error {
	if d == nil {
		return errors.New("the request decoder is nil")
	}
	anyMessage := reflect.TypeFor[proto.Message]()
	if requests.GoType != anyMessage {
		return fmt.Errorf("there is a request decoder: wanted a function that takes proto.Message, given one that takes %s",
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
