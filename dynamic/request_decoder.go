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

// RequestDecoder returns a function that decodes the requests of a method. The RequestDecoder is
// called once, when the handler is registered, with the message descriptor of the request. If it
// returns an error, the registration fails.
//
// The function decode is called for each request and must be safe for concurrent use. It returns a
// new message with the same descriptor as the argument request. The handler may keep and modify the
// message. The message may refer to the encoded bytes, because these are never modified. If decode
// returns an error or panics, the call fails with code malformed_request, or the stream is closed
// with this code.
type RequestDecoder func(request protoreflect.MessageDescriptor) (
	decode func(encoded []byte) (proto.Message, error), err error)

// WithRequestDecoder sets the decoder for the requests of a handler, or for the messages that a
// stream handler receives. The request type of the handler must be proto.Message. With any other
// request type, or with [Raw], Register returns an error. By default, requests are decoded into the
// generated Go type if the program contains it, and into dynamicpb messages otherwise. Package
// dynamic/fastdecode provides a faster decoder.
//
// The decoder cannot find extensions that are defined in the registry. If messages may contain
// extensions, use [WithMethodDecoder].
func WithRequestDecoder(decoder RequestDecoder) HandlerOption {
	if decoder == nil {
		return decoderOption(nil)
	}
	return decoderOption(func(method *registry.Method) (func([]byte) (proto.Message, error), error) {
		return decoder(method.Input())
	})
}

// MethodDecoder is like [RequestDecoder], but receives the method instead of a message descriptor.
// To decode extensions, use the service of the method as the resolver in proto.UnmarshalOptions.
type MethodDecoder func(method *registry.Method) (decode func(encoded []byte) (proto.Message, error), err error)

// WithMethodDecoder is like [WithRequestDecoder], but takes a [MethodDecoder].
func WithMethodDecoder(decoder MethodDecoder) HandlerOption { return decoderOption(decoder) }

type decoderOption MethodDecoder

func (d decoderOption) bindOption(bound *boundHandler, method *registry.Method) error {
	if bound.raw {
		return errors.New(
			"WithRequestDecoder: wanted a function that takes proto.Message, but the function takes bytes")
	}
	if bound.stream != nil {
		return d.replace(&bound.stream.recvType, method)
	}
	return d.replace(&bound.requestType, method)
}

// replace calls d and stores the returned function in requests.Decoder.
func (d decoderOption) replace(requests *message.Type, method *registry.Method) error {
	if d == nil {
		return errors.New("the request decoder is nil")
	}
	anyMessage := reflect.TypeFor[proto.Message]()
	if requests.GoType != anyMessage {
		return fmt.Errorf("WithRequestDecoder: wanted a function that takes proto.Message, given one that takes %s",
			requests.GoType)
	}
	decode, err := d(method)
	if err != nil {
		return fmt.Errorf("request decoder: %w", err)
	}
	if decode == nil {
		return errors.New("the request decoder returned no function")
	}
	requests.Decoder, requests.DecodedType = decode, anyMessage
	return nil
}
