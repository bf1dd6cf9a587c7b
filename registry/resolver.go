package registry

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// FindMessageByName returns the message type with the given full name. The message may be declared
// in the file of a registered service or in a direct or indirect import of such a file. Its type is
// the generated Go type of that name if the program contains one with the same schema. Otherwise it
// is a dynamic type (see package dynamicpb). A generated Go type of another version of the schema
// is therefore never used for a registered message. If several registered files declare the name,
// the file that was registered first takes precedence. [Service.FindMessageByName] prefers the
// files of a service instead.
//
// If no registered file declares the name, FindMessageByName returns the generated Go type of that
// name. If the program contains none, the error is protoregistry.NotFound.
//
// FindMessageByName and the other Find methods allow a Registry to be used as the resolver for the
// packages proto, protojson, prototext and anypb. With this resolver, these packages can encode and
// decode an Any that contains a message of a registered service.
func (r *Registry) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if mt, ok := r.types.find(name).(protoreflect.MessageType); ok {
		return mt, nil
	}
	return protoregistry.GlobalTypes.FindMessageByName(name)
}

// FindMessageByURL is like [Registry.FindMessageByName] but accepts a type URL, such as
// "type.googleapis.com/my.pkg.MyRequest". The full name of the message is the part after the last
// slash.
func (r *Registry) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return r.FindMessageByName(messageName(url))
}

// FindExtensionByName returns the extension type with the given full name. It searches the same
// places as [Registry.FindMessageByName].
func (r *Registry) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	if xt, ok := r.types.find(name).(protoreflect.ExtensionType); ok {
		return xt, nil
	}
	return protoregistry.GlobalTypes.FindExtensionByName(name)
}

// FindExtensionByNumber returns the extension type that extends the given message and has the given
// field number. It searches the same places as [Registry.FindMessageByName].
func (r *Registry) FindExtensionByNumber(
	message protoreflect.FullName, number protoreflect.FieldNumber,
) (protoreflect.ExtensionType, error) {
	if xt, ok := r.types.find(extensionKey{message, number}).(protoreflect.ExtensionType); ok {
		return xt, nil
	}
	return protoregistry.GlobalTypes.FindExtensionByNumber(message, number)
}

// messageName returns the full name of the message that a type URL names.
func messageName(url string) protoreflect.FullName {
	return protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:])
}
