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
