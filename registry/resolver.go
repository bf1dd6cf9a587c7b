package registry

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// FindMessageByName returns the message type with the given full name: the generated Go type if one
// is linked into the program, otherwise a dynamic type (see dynamicpb) if a file of a registered
// service, or one of its imports, declares the message. It returns protoregistry.NotFound for an
// unknown name.
//
// FindMessageByName and the methods below make a Registry a resolver for proto, protojson,
// prototext and anypb. With it, an Any that contains a message of a registered service can be
// decoded and encoded.
func (r *Registry) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if linked, err := protoregistry.GlobalTypes.FindMessageByName(name); err == nil {
		return linked, nil
	}
	if md, ok := r.types.find(name).(protoreflect.MessageDescriptor); ok {
		return dynamicpb.NewMessageType(md), nil
	}
	return nil, protoregistry.NotFound
}

// FindMessageByURL is [Registry.FindMessageByName] for the part of a type URL after its last slash,
// as in "type.googleapis.com/my.pkg.MyRequest".
func (r *Registry) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return r.FindMessageByName(protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:]))
}

// FindExtensionByName returns the extension type with the given full name. It searches like
// [Registry.FindMessageByName].
func (r *Registry) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	if linked, err := protoregistry.GlobalTypes.FindExtensionByName(name); err == nil {
		return linked, nil
	}
	return extensionType(r.types.find(name))
}

// FindExtensionByNumber returns the extension type with the given field number in a message. It
// searches like [Registry.FindMessageByName].
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
