package registry

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Registry holds services by name. It also resolves their message types, see [Registry.FindMessageByURL].
// The zero value is empty and ready for use; it must not be copied after that.
type Registry struct {
	byName     sync.Map // full protobuf name (string) to *Service
	byWireName sync.Map // wire name (string) to *Service
	types      typeIndex

	mu sync.Mutex // held while services are added or removed
}

// New returns an empty registry.
func New() *Registry { return new(Registry) }

// Register adds a service and returns it. sd and errors in the schema are as for [NewService].
//
// Registering the very same descriptor under the same wire name again returns the service that is
// there. Another descriptor of that full name, or the same under another wire name, gives
// [ErrAlreadyRegistered]; a wire name that another service uses gives [ErrWireNameTaken].
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

// RegisterFile adds all services that a file declares, or none if there is an error. Errors are those
// of [Registry.Register], joined, and [ErrNoService] for a file without services. [WithWireName] can
// be given only if the file has one service.
func (r *Registry) RegisterFile(fd protoreflect.FileDescriptor, opts ...Option) error {
	if isNil(fd) {
		return fmt.Errorf("%w: the file descriptor is nil", ErrNoService)
	}
	if fd.IsPlaceholder() {
		return fmt.Errorf("%w: file %s is not resolved: load it first", ErrNoService, fd.Path())
	}
	return r.registerAll(servicesOf(fd), opts...)
}

// registerAll adds all services or none.
func (r *Registry) registerAll(descriptors []protoreflect.ServiceDescriptor, opts ...Option) error {
	if len(descriptors) == 0 {
		return fmt.Errorf("%w: nothing to register, the schema declares none", ErrNoService)
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

// add puts services into the registry, all or none. It returns for each the one that is registered
// now: an older one if the same descriptor was there before.
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
			continue // there already
		}
		r.types.addFile(s.descriptor.ParentFile())
		r.byName.Store(string(s.Name()), s)
		r.byWireName.Store(s.wireName, s)
	}
	return registered, nil
}

// checkLocked returns the service to have in the registry for s: s itself, or the one that is there if it
// is the same. It reports why s cannot stand beside the registered services and those of its batch.
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
		return nil, fmt.Errorf("service %s: %w: service %s is %q on the wire too: register one of them with WithWireName",
			s.Name(), ErrWireNameTaken, other.Name(), s.wireName)
	}
	return s, nil
}

// Remove takes a service out and reports whether it was there. Calls that hold the service or its
// methods are not affected.
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

// servicesOf returns the services that a file declares.
func servicesOf(fd protoreflect.FileDescriptor) []protoreflect.ServiceDescriptor {
	services := make([]protoreflect.ServiceDescriptor, fd.Services().Len())
	for i := range services {
		services[i] = fd.Services().Get(i)
	}
	return services
}
