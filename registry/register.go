package registry

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// Register adds a service to the registry and returns it. It accepts the same values for sd as
// [NewService] and reports schema mistakes in the same way.
//
// If an equal service is already registered under the same wire name, Register returns the existing
// service. Services are equal if they were declared by the same source, even if one was loaded from
// a descriptor set and the other one from generated code. Register fails with
// [ErrAlreadyRegistered] if the registered service with the same full name is not equal, or has a
// different wire name. It fails with [ErrWireNameTaken] if another service uses the wire name.
func (r *Registry) Register(sd any, opts ...Option) (*Service, error) {
	s, err := r.build(sd, opts)
	if err != nil {
		return nil, err
	}
	added, err := r.add([]*Service{s})
	if err != nil {
		return nil, err
	}
	return added[0], nil
}

// build returns the service for sd, which is not registered yet.
func (r *Registry) build(sd any, opts []Option) (*Service, error) {
	descriptor, err := serviceDescriptor(sd)
	if err != nil {
		return nil, err
	}
	s, err := NewService(descriptor, r.options.serviceOptions(descriptor, opts)...)
	if err == nil {
		err = r.options.refusal(s)
	}
	return s, err
}

// RegisterFile adds all services declared in a file. If it returns an error, no service has been
// added. The error joins the errors that [Registry.Register] would return for the individual
// services; for a file without services, it is [ErrNoService]. The option [WithWireName] can be
// used only if the file declares exactly one service.
//
// RegisterFile leaves out gRPC services (see [Registry.GRPCServices]). If the file declares no
// other services, RegisterFile returns an error. If a service of the file is already registered
// with the same schema, it keeps its wire name. If [WithWireName] or [WithWireNames] asks for a
// wire name that is neither this name nor the default, RegisterFile returns an error.
func (r *Registry) RegisterFile(fd protoreflect.FileDescriptor, opts ...Option) error {
	if nilarg.Is(fd) {
		return fmt.Errorf("%w: the file descriptor is nil", ErrNoService)
	}
	if fd.IsPlaceholder() {
		return fmt.Errorf("%w: file %s is not resolved: load it first", ErrNoService, fd.Path())
	}
	return r.registerAll(servicesOf(fd), opts...)
}

// registerAll adds a service for each descriptor, except for gRPC services. If there are only gRPC
// services, the error describes why they cannot be used. If registerAll returns an error, no
// service has been added.
func (r *Registry) registerAll(descriptors []protoreflect.ServiceDescriptor, opts ...Option) error {
	if len(descriptors) == 0 {
		return fmt.Errorf("%w: the schema declares no services", ErrNoService)
	}
	usable, grpc := splitGRPC(descriptors)
	if len(usable) == 0 {
		_, err := r.buildAll(grpc, opts)
		return onlyGRPCError{err}
	}
	services, err := r.buildAll(usable, opts)
	if err != nil {
		return err
	}
	if _, err := r.add(services); err != nil {
		return err
	}
	r.noteGRPCServices(grpc)
	return nil
}

// buildAll creates a service for each descriptor and reports all problems as one error. It leaves
// out a service for which isRenamed returns true. Such a service is already registered, and keeps
// the wire name that the user has chosen.
func (r *Registry) buildAll(descriptors []protoreflect.ServiceDescriptor, opts []Option) ([]*Service, error) {
	services := make([]*Service, 0, len(descriptors))
	var problems []error
	for _, descriptor := range descriptors {
		s, err := buildService(descriptor, r.options.serviceOptions(descriptor, opts))
		if err == nil {
			err = r.options.refusal(s)
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if !r.isRenamed(s) {
			services = append(services, s)
		}
	}
	return services, errors.Join(problems...)
}

// isRenamed reports whether s has the default wire name, but a service with the same full name and
// schema is already registered under another wire name.
func (r *Registry) isRenamed(s *Service) bool {
	old, ok := r.Service(string(s.Name()))
	return ok && s.wireName == s.defaultWireName() && old.wireName != s.wireName && sameService(old, s)
}

// add adds services to the registry and logs what [Lint] reports about them. If it returns an
// error, no service has been added. Otherwise, the result contains one registered service for each
// element of services: the element itself or an existing service that is equal.
func (r *Registry) add(services []*Service) ([]*Service, error) {
	registered, err := r.store(services)
	if err != nil {
		return nil, err
	}
	for i, s := range services {
		if registered[i] == s {
			r.options.warn(s)
		}
	}
	return registered, nil
}

// store is like add, but logs nothing.
func (r *Registry) store(services []*Service) ([]*Service, error) {
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
			// An equal service is already registered.
			continue
		}
		r.insertLocked(s)
		r.generation.Add(1)
	}
	return registered, nil
}

// insertLocked stores s under its full name and its wire name, and indexes the types of its file.
// The caller must hold r.mu and increment r.generation after the whole change.
func (r *Registry) insertLocked(s *Service) {
	s.types.registry = r
	r.types.addFile(s.descriptor.ParentFile())
	r.byName.Store(string(s.Name()), s)
	r.byWireName.Store(s.wireName, s)
	r.grpcServices.Delete(string(s.Name()))
}

// wireNameTaken returns the error for the service s if other is already registered under the same
// wire name.
func wireNameTaken(s, other *Service) error {
	return fmt.Errorf("service %s: %w: service %s is %q on the wire as well: register one of them with WithWireName",
		s.Name(), ErrWireNameTaken, other.Name(), s.wireName)
}

// checkLocked returns an equal service that is already registered, or s itself if there is none. It
// returns an error if s conflicts with a registered service or with a service in batch. The keys of
// batch are wire names. The caller must hold r.mu.
func (r *Registry) checkLocked(s *Service, batch map[string]*Service) (*Service, error) {
	if old, ok := r.Service(string(s.Name())); ok {
		if old.descriptor != s.descriptor && !sameDeclaration(old, s) {
			return nil, fmt.Errorf("service %s: %w with another descriptor: remove it first to replace it",
				s.Name(), ErrAlreadyRegistered)
		}
		if old.wireName != s.wireName {
			return nil, fmt.Errorf("service %s: %w under the wire name %q: remove it first to register it as %q",
				s.Name(), ErrAlreadyRegistered, old.wireName, s.wireName)
		}
		return old, nil
	}
	if other, taken := batch[s.wireName]; taken {
		return nil, fmt.Errorf("service %s: %w: service %s is %q on the wire as well: name one of them with WithWireNames",
			s.Name(), ErrWireNameTaken, other.Name(), s.wireName)
	}
	if other, taken := r.ServiceByWireName(s.wireName); taken {
		return nil, wireNameTaken(s, other)
	}
	return s, nil
}

// Remove removes the service with the given full name and reports whether it was registered. Calls
// that already use the service or its methods are not affected.
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
	r.generation.Add(1)
	return true
}

// servicesOf returns the services declared in a file.
func servicesOf(fd protoreflect.FileDescriptor) []protoreflect.ServiceDescriptor {
	services := make([]protoreflect.ServiceDescriptor, fd.Services().Len())
	for i := range services {
		services[i] = fd.Services().Get(i)
	}
	return services
}
