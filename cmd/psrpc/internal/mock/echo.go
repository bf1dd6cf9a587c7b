package mock

import (
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// echo returns a response with the fields that the request and the response type have in common. It
// returns false if there are none, or if a value of the request does not fit the response.
func echo(method *registry.Method, request proto.Message) (proto.Message, bool) {
	if method.Input().FullName() == method.Output().FullName() {
		return request, true
	}
	if !shareField(method.Input(), method.Output()) {
		return nil, false
	}
	encoded, err := protojson.MarshalOptions{Resolver: method.Service()}.Marshal(request)
	if err != nil {
		return nil, false
	}
	response, err := newMessage(method.Service(), method.Output())
	if err != nil {
		return nil, false
	}
	options := protojson.UnmarshalOptions{Resolver: method.Service(), DiscardUnknown: true}
	return response, options.Unmarshal(encoded, response) == nil
}

// shareField reports whether both messages have a field of the same name.
func shareField(a, b protoreflect.MessageDescriptor) bool {
	for i := range a.Fields().Len() {
		if b.Fields().ByJSONName(a.Fields().Get(i).JSONName()) != nil {
			return true
		}
	}
	return false
}

// newMessage returns an empty message of the Go type that the service's handlers work with.
func newMessage(service *registry.Service, of protoreflect.MessageDescriptor) (proto.Message, error) {
	messageType, err := service.FindMessageByName(of.FullName())
	if err != nil {
		return nil, err
	}
	return messageType.New().Interface(), nil
}
