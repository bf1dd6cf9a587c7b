package registry

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Registry holds services by name. It also resolves their message types, see
// [Registry.FindMessageByURL]. The zero value is an empty registry; it must not be copied after
// first use.
type Registry struct {
	byName     sync.Map // maps full protobuf name to *Service
	byWireName sync.Map // maps wire name to *Service
	types      typeIndex

	mu sync.Mutex // held while services are added or removed
}

// New returns an empty registry.
func New() *Registry { return new(Registry) }

// Register adds a service and returns it. It accepts the same values for sd as [NewService], and
// returns the same errors for mistakes in the schema.
//
// If the same descriptor is already registered under the same wire name, Register returns the
// existing service. It returns [ErrAlreadyRegistered] for another descriptor with the same full
// name, or for the same descriptor under another wire name, and [ErrWireNameTaken] if another
// service uses the wire name.
func (r *Registry) Register(sd any, opts ...Option) (*Service, error) {
	s, err := NewService(sd, opts...)
	if err != nil {
		return nil, err
	}
	added, err := r.add([]*Service{s})
	if err != nil {
		return nil, err
	}
	return added[0], nil
}

// RegisterFile adds all services of a file, or none on error. Its errors are those of
// [Registry.Register], joined, and [ErrNoService] for a file without services. [WithWireName] is
// allowed only if the file has exactly one service.
func (r *Registry) RegisterFile(fd protoreflect.FileDescriptor, opts ...Option) error {
	if isNil(fd) {
		return fmt.Errorf("%w: the file descriptor is nil", ErrNoService)
	}
	if fd.IsPlaceholder() {
		return fmt.Errorf("%w: file %s is not resolved: load it first", ErrNoService, fd.Path())
	}
	return r.registerAll(servicesOf(fd), opts...)
}

// registerAll adds all services, or none on error.
func (r *Registry) registerAll(descriptors []protoreflect.ServiceDescriptor, opts ...Option) error {
	if len(descriptors) == 0 {
		return fmt.Errorf("%w: the schema declares no services", ErrNoService)
	}
	services := make([]*Service, 0, len(descriptors))
	var problems []error
	for _, descriptor := range descriptors {
		s, err := buildService(descriptor, opts)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		services = append(services, s)
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	_, err := r.add(services)
	return err
}

// add adds all services, or none on error. It returns the registered service for each element of
// services: the element itself, or an existing service with the same descriptor.
func (r *Registry) add(services []*Service) ([]*Service, error) {
	r.mu.Lock()
	defer r.mu.Unlock()

	registered := make([]*Service, len(services))
	byWireName := make(map[string]*Service, len(services))
	var problems []error
	for i, s := range services {
		var err error
		if registered[i], err = r.checkLocked(s, byWireName); err != nil {
			problems = append(problems, err)
			continue
		}
		byWireName[s.wireName] = s
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	for i, s := range services {
		if registered[i] != s {
			continue // already registered
		}
		r.types.addFile(s.descriptor.ParentFile())
		r.byName.Store(string(s.Name()), s)
		r.byWireName.Store(s.wireName, s)
	}
	return registered, nil
}

// checkLocked returns the service to register for s: s itself, or the existing service if it has
// the same descriptor. It returns an error if s conflicts with a registered service or with another
// service of the batch.
func (r *Registry) checkLocked(s *Service, batch map[string]*Service) (*Service, error) {
	if old, ok := r.Service(string(s.Name())); ok {
		if old.descriptor != s.descriptor {
			return nil, fmt.Errorf("service %s: %w with another descriptor: remove it first to replace it",
				s.Name(), ErrAlreadyRegistered)
		}
		if old.wireName != s.wireName {
			return nil, fmt.Errorf("service %s: %w under the wire name %q: remove it first to register it as %q",
				s.Name(), ErrAlreadyRegistered, old.wireName, s.wireName)
		}
		return old, nil
	}
	other, taken := r.ServiceByWireName(s.wireName)
	if !taken {
		other, taken = batch[s.wireName]
	}
	if taken {
		return nil, fmt.Errorf("service %s: %w: service %s is %q on the wire as well: register one of them with WithWireName",
			s.Name(), ErrWireNameTaken, other.Name(), s.wireName)
	}
	return s, nil
}

// Remove removes a service and reports whether it was registered. Calls that already hold the
// service or its methods are not affected.
func (r *Registry) Remove(name protoreflect.FullName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()

	s, ok := r.Service(string(name))
	if !ok {
		return false
	}
	r.byName.Delete(string(name))
	r.byWireName.Delete(s.wireName)
	r.types.removeFile(s.descriptor.ParentFile())
	return true
}

// servicesOf returns the services of a file.
func servicesOf(fd protoreflect.FileDescriptor) []protoreflect.ServiceDescriptor {
	services := make([]protoreflect.ServiceDescriptor, fd.Services().Len())
	for i := range services {
		services[i] = fd.Services().Get(i)
	}
	return services
}
