package registry

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// FindMessageByName returns the type of a message by its full name: the generated Go type if the
// program links one under that name, else a dynamic type (see dynamicpb) if a file of a registered
// service or one of its imports declares the message. The error for an unknown name is
// protoregistry.NotFound.
//
// With this and the methods below a Registry is a resolver for protojson, prototext, proto and
// anypb, so that an Any which holds a message of a registered service can be read and written.
func (r *Registry) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if linked, err := protoregistry.GlobalTypes.FindMessageByName(name); err == nil {
		return linked, nil
	}
	if md, ok := r.types.find(name).(protoreflect.MessageDescriptor); ok {
		return dynamicpb.NewMessageType(md), nil
	}
	return nil, protoregistry.NotFound
}

// FindMessageByURL is FindMessageByName for the part of a type URL after its last slash, such as
// "type.googleapis.com/my.pkg.MyRequest".
func (r *Registry) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return r.FindMessageByName(protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:]))
}

// FindExtensionByName returns the type of an extension field by its full name, found as for
// FindMessageByName.
func (r *Registry) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	if linked, err := protoregistry.GlobalTypes.FindExtensionByName(name); err == nil {
		return linked, nil
	}
	return extensionType(r.types.find(name))
}

// FindExtensionByNumber returns the type of the extension field that has that number in a message,
// found as for FindMessageByName.
func (r *Registry) FindExtensionByNumber(
	message protoreflect.FullName, number protoreflect.FieldNumber,
) (protoreflect.ExtensionType, error) {
	if linked, err := protoregistry.GlobalTypes.FindExtensionByNumber(message, number); err == nil {
		return linked, nil
	}
	return extensionType(r.types.find(extensionKey{message, number}))
}

func extensionType(d protoreflect.Descriptor) (protoreflect.ExtensionType, error) {
	switch d := d.(type) {
	case protoreflect.ExtensionTypeDescriptor:
		return d.Type(), nil
	case protoreflect.ExtensionDescriptor:
		return dynamicpb.NewExtensionType(d), nil
	default:
		return nil, protoregistry.NotFound
	}
}
