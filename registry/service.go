package registry

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Service is a protobuf service with the psrpc options of its methods. It is immutable and safe for
// concurrent use. The caller owns the slices that its methods return.
type Service struct {
	descriptor protoreflect.ServiceDescriptor
	wireName   string
	methods    []*Method
	byName     map[string]*Method
	groups     map[string][]*Method
}

// Name returns the full protobuf name, such as "my.pkg.MyService".
func (s *Service) Name() protoreflect.FullName { return s.descriptor.FullName() }

// WireName returns the name of the service on the bus: the name set by [WithWireName], or the
// simple name in CamelCase.
func (s *Service) WireName() string { return s.wireName }

// Methods returns the methods in declaration order.
func (s *Service) Methods() []*Method { return slices.Clone(s.methods) }

// Method returns the method with the given name in the .proto file.
func (s *Service) Method(name string) (*Method, bool) {
	m, ok := s.byName[name]
	return m, ok
}

// Group returns the methods of a topic group in declaration order. All of them have the same topic
// parameters.
func (s *Service) Group(name string) ([]*Method, bool) {
	methods, ok := s.groups[name]
	return slices.Clone(methods), ok
}

// Groups returns the names of the topic groups, sorted.
func (s *Service) Groups() []string { return slices.Sorted(maps.Keys(s.groups)) }

// Descriptor returns the protobuf descriptor of the service.
func (s *Service) Descriptor() protoreflect.ServiceDescriptor { return s.descriptor }

// String returns the full protobuf name.
func (s *Service) String() string { return string(s.Name()) }
