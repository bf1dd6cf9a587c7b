package registry

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// NewService creates a service from a descriptor without adding it to a registry. sd must be a
// protoreflect.ServiceDescriptor or a value with the method UnwrapService()
// protoreflect.ServiceDescriptor, such as the *desc.ServiceDescriptor of
// github.com/jhump/protoreflect.
//
// Mistakes in the schema are reported as errors of type *[SchemaError], joined into one error. A
// service without methods is reported as a mistake as well.
//
// Options that contradict each other or have no effect are not reported, because services with such
// schemas may already be in use. For example, a method that has topic parameters but does not set
// the option topics has no topics. [Lint] reports such options.
func NewService(sd any, opts ...Option) (*Service, error) {
	descriptor, err := serviceDescriptor(sd)
	if err != nil {
		return nil, err
	}
	if descriptor.Methods().Len() == 0 {
		return nil, noMethodsError(descriptor)
	}
	return buildService(descriptor, opts)
}

func noMethodsError(descriptor protoreflect.ServiceDescriptor) error {
	return schemaError(descriptor, string(descriptor.FullName()), errors.New("the service declares no methods"))
}

// buildService creates a service from a descriptor, which must be neither nil nor a placeholder.
// Unlike NewService, it accepts a service without methods.
func buildService(descriptor protoreflect.ServiceDescriptor, opts []Option) (*Service, error) {
	var config serviceConfig
	for _, opt := range opts {
		if opt != nil {
			opt(&config)
		}
	}
	s := &Service{
		descriptor: descriptor,
		byName:     make(map[string]*Method),
		groups:     make(map[string][]*Method),
	}
	s.wireName = s.defaultWireName()
	s.types.file = descriptor.ParentFile()
	problems := s.addMethods()
	problems = append(problems, s.checkWireNames()...)
	problems = append(problems, s.checkGroups()...)
	if config.wireName != nil {
		s.wireName = *config.wireName
		if err := checkWireName(s.wireName); err != nil {
			problems = append(problems, fmt.Errorf("service %s: %w", s.Name(), err))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return s, nil
}

// defaultWireName returns the name that psrpc uses for the service.
func (s *Service) defaultWireName() string { return camelCase(string(s.descriptor.Name())) }

func (s *Service) addMethods() []error {
	var problems []error
	methods := s.descriptor.Methods()
	for i := range methods.Len() {
		m, found := newMethod(s, methods.Get(i))
		problems = append(problems, found...)
		if m == nil {
			continue
		}
		s.methods = append(s.methods, m)
		s.byName[m.Name()] = m
		if m.group != "" {
			s.groups[m.group] = append(s.groups[m.group], m)
		}
	}
	return problems
}

// checkWireNames returns an error for each method whose wire name is already used by another method
// of the service.
func (s *Service) checkWireNames() []error {
	var problems []error
	taken := make(map[string]*Method, len(s.methods))
	for _, m := range s.methods {
		if other, ok := taken[m.wireName]; ok {
			problems = append(problems, m.problem("has the wire name %s, which method %s already has: rename one of them",
				m.wireName, other.Name()))
			continue
		}
		taken[m.wireName] = m
	}
	return problems
}

// checkGroups returns an error for each method whose topic parameters differ from those of the
// first method in its topic group.
func (s *Service) checkGroups() []error {
	var problems []error
	for _, name := range s.Groups() {
		first := s.groups[name][0]
		for _, m := range s.groups[name][1:] {
			if !slices.Equal(m.topicParams, first.topicParams) {
				problems = append(problems, m.problem(
					"is in topic group %q with method %s but has topic parameters %q instead of %q: make them identical",
					name, first.Name(), m.topicParams, first.topicParams))
			}
		}
	}
	return problems
}

// serviceDescriptor returns the service descriptor contained in sd. See NewService for the types
// that sd may have.
func serviceDescriptor(sd any) (protoreflect.ServiceDescriptor, error) {
	const accepted = "pass a protoreflect.ServiceDescriptor or a value with the method " +
		"UnwrapService() protoreflect.ServiceDescriptor, such as *desc.ServiceDescriptor"
	if nilarg.Is(sd) {
		return nil, fmt.Errorf("%w: the service descriptor is nil: %s", ErrNoService, accepted)
	}
	switch sd := sd.(type) {
	case protoreflect.ServiceDescriptor:
		return checkDescriptor(sd)
	case interface {
		UnwrapService() protoreflect.ServiceDescriptor
	}:
		return checkDescriptor(sd.UnwrapService())
	case protoreflect.FileDescriptor:
		return nil, fmt.Errorf("%w: %s is a file: pass one of its services, such as file.Services().ByName(%q), or register all of "+
			"them with Registry.RegisterFile", ErrNoService, sd.Path(), firstService(sd))
	default:
		return nil, fmt.Errorf("%w: %T is not a service descriptor: %s", ErrNoService, sd, accepted)
	}
}

// firstService returns the name of the first service in a file, or an example of a name if there is
// none. It is used in an error message.
func firstService(file protoreflect.FileDescriptor) protoreflect.Name {
	if services := file.Services(); services.Len() > 0 {
		return services.Get(0).Name()
	}
	return "MyService"
}

func checkDescriptor(sd protoreflect.ServiceDescriptor) (protoreflect.ServiceDescriptor, error) {
	if nilarg.Is(sd) {
		return nil, fmt.Errorf("%w: the wrapped service descriptor is nil", ErrNoService)
	}
	if sd.IsPlaceholder() {
		return nil, fmt.Errorf("%w: service %s is not resolved: load the file that declares it", ErrNoService, sd.FullName())
	}
	return sd, nil
}
