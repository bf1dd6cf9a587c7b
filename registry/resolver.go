package registry

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// FindMessageByName returns the message type with the given full name. If the program contains a
// generated Go type with that name, FindMessageByName returns it. Otherwise it returns a dynamic
// type (see package dynamicpb) if the message is declared in the file of a registered service or in
// a direct or indirect import of such a file. If the name is unknown, the error is
// protoregistry.NotFound.
//
// FindMessageByName and the other Find methods allow a Registry to be used as the resolver for the
// packages proto, protojson, prototext and anypb. With this resolver, these packages can encode and
// decode an Any that contains a message of a registered service.
func (r *Registry) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if linked, err := protoregistry.GlobalTypes.FindMessageByName(name); err == nil {
		return linked, nil
	}
	if md, ok := r.types.find(name).(protoreflect.MessageDescriptor); ok {
		return dynamicpb.NewMessageType(md), nil
	}
	return nil, protoregistry.NotFound
}

// FindMessageByURL is like [Registry.FindMessageByName] but accepts a type URL, such as
// "type.googleapis.com/my.pkg.MyRequest". The full name of the message is the part after the last
// slash.
func (r *Registry) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return r.FindMessageByName(protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:]))
}

// FindExtensionByName returns the extension type with the given full name. It searches the same
// places as [Registry.FindMessageByName].
func (r *Registry) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	if linked, err := protoregistry.GlobalTypes.FindExtensionByName(name); err == nil {
		return linked, nil
	}
	return extensionType(r.types.find(name))
}

// FindExtensionByNumber returns the extension type that extends the given message and has the given
// field number. It searches the same places as [Registry.FindMessageByName].
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
