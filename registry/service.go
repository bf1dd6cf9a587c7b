package registry

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Service is a protobuf service together with the psrpc options of its methods. A Service is
// immutable and safe for concurrent use. Callers may modify the slices returned by its methods.
type Service struct {
	descriptor protoreflect.ServiceDescriptor
	wireName   string
	methods    []*Method
	byName     map[string]*Method
	groups     map[string][]*Method
	types      serviceTypes
}

// Name returns the full protobuf name of the service, such as "my.pkg.MyService".
func (s *Service) Name() protoreflect.FullName { return s.descriptor.FullName() }

// WireName returns the name of the service on the bus. This is the name set with [WithWireName] or,
// by default, the simple name of the service in CamelCase.
func (s *Service) WireName() string { return s.wireName }

// Methods returns the methods of the service in declaration order.
func (s *Service) Methods() []*Method { return slices.Clone(s.methods) }

// Method returns the method with the given name, as declared in the .proto file, and reports
// whether it exists.
func (s *Service) Method(name string) (*Method, bool) {
	m, ok := s.byName[name]
	return m, ok
}

// Group returns the methods of the named topic group in declaration order and reports whether the
// group exists. All methods of a group have the same topic parameters.
func (s *Service) Group(name string) ([]*Method, bool) {
	methods, ok := s.groups[name]
	return slices.Clone(methods), ok
}

// Groups returns the names of all topic groups in sorted order.
func (s *Service) Groups() []string { return slices.Sorted(maps.Keys(s.groups)) }

// Descriptor returns the protobuf descriptor of the service.
func (s *Service) Descriptor() protoreflect.ServiceDescriptor { return s.descriptor }

// String returns the full protobuf name of the service.
func (s *Service) String() string { return string(s.Name()) }

// FindMessageByName is like [Registry.FindMessageByName], but the file of the service and its
// direct and indirect imports take precedence over the files of other services. It therefore finds
// the version of a message that the service was declared with, even if the registry contains
// several.
//
// FindMessageByName and the other Find methods allow a Service to be used as the resolver for the
// packages proto, protojson, prototext and anypb. A service from [NewService] belongs to no
// registry and knows only its own files and the generated Go code of the program.
func (s *Service) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if mt := s.types.message(name); mt != nil {
		return mt, nil
	}
	return s.types.others().FindMessageByName(name)
}

// FindMessageByURL is like [Service.FindMessageByName] but accepts a type URL, such as
// "type.googleapis.com/my.pkg.MyRequest".
func (s *Service) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return s.FindMessageByName(messageName(url))
}

// FindExtensionByName returns the extension type with the given full name. It searches the same
// places as [Service.FindMessageByName].
func (s *Service) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	if xt := s.types.extension(name); xt != nil {
		return xt, nil
	}
	return s.types.others().FindExtensionByName(name)
}

// FindExtensionByNumber returns the extension type that extends the given message and has the given
// field number. It searches the same places as [Service.FindMessageByName].
func (s *Service) FindExtensionByNumber(
	message protoreflect.FullName, number protoreflect.FieldNumber,
) (protoreflect.ExtensionType, error) {
	if xt := s.types.extension(extensionKey{message, number}); xt != nil {
		return xt, nil
	}
	return s.types.others().FindExtensionByNumber(message, number)
}
