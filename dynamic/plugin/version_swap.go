package plugin

import (
	"slices"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// dryRun registers services on a server of a private in-process bus. It reports all problems of the
// registrations before any service is served, and returns the services with their wire names.
func (v *version) dryRun(services []Service) ([]*managedService, error) {
	local := bus.NewLocal()
	defer local.Close() //nolint:errcheck // no frames are in flight
	server := dynamic.NewServer(local)
	defer server.Kill()
	all := make([]*managedService, 0, len(services))
	var problems []error
	for _, service := range services {
		registration, err := server.Register(service.Descriptor, service.Handlers, v.registerOptions(service)...)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		s := registration.Service()
		all = append(all, &managedService{Service: service, name: s.Name(), wireName: s.WireName()})
	}
	return all, errors.Join(problems...)
}

// swap serves all services of v. A service that the previous version has is replaced in one step,
// so no request is lost; previous may be nil. If one service fails, swap rolls the others back and
// returns an error.
func (v *version) swap(previous *version) (err error) {
	var undo []func() error
	defer func() {
		if err == nil {
			return
		}
		for _, rollback := range slices.Backward(undo) {
			err = errors.Join(err, rollback())
		}
	}()
	for _, s := range v.services {
		replaced := previous.serviceByWireName(s.wireName)
		if err := v.register(s, replaced); err != nil {
			return errors.NewErrorf(errorCode(err), "cannot serve: %w", err)
		}
		if replaced != nil {
			undo = append(undo, func() error { return previous.rollback(replaced, s) })
		}
		if err := s.notifyRegistered(); err != nil {
			return err
		}
	}
	return nil
}

// register serves s on the host's server, in place of replaced unless that is nil.
func (v *version) register(s, replaced *managedService) (err error) {
	if replaced == nil {
		s.registration, err = v.host.server.Register(s.Descriptor, s.Handlers, v.registerOptions(s.Service)...)
	} else {
		s.registration, err = replaced.registration.Replace(s.Descriptor, s.Handlers, v.registerOptions(s.Service)...)
	}
	return err
}

// rollback serves replaced, a service of v, again in place of s, a service of a newer version.
func (v *version) rollback(replaced, s *managedService) error {
	options := v.registerOptions(replaced.Service)
	registration, err := s.registration.Replace(replaced.Descriptor, replaced.Handlers, options...)
	if err != nil {
		return errors.NewErrorf(errorCode(err),
			"service %s is no longer served: cannot roll back to the previous version: %w", s.name, err)
	}
	v.rolledBack = append(v.rolledBack, replaced.registration)
	replaced.registration = registration
	return replaced.notifyRegistered()
}

// registerOptions returns the options to register s with: those of the code, the wire name of the
// manifest, and interceptors that count requests unless the code does.
func (v *version) registerOptions(s Service) []dynamic.RegisterOption {
	options := slices.Clone(s.Options)
	if wireName := v.source.WireNames[string(s.Descriptor.FullName())]; wireName != "" {
		options = append(options, dynamic.WithWireName(wireName))
	}
	if _, counts := v.instance.(CallCounter); !counts {
		options = append(options, v.counter.registerOptions()...)
	}
	return options
}
