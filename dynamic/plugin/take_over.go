package plugin

import (
	"slices"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// dryRun registers services on a server that nobody can reach. It finds what is wrong with them before any of them is
// served, and their names on the wire.
func (v *version) dryRun(services []Service) ([]*managedService, error) {
	local := bus.NewLocal()
	defer local.Close() //nolint:errcheck // nothing is on its way
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

// swap serves all services in place of those of the old version, which may be nil, or changes nothing.
func (v *version) swap(old *version) (err error) {
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
		previous := old.serviceByWireName(s.wireName)
		if err := v.register(s, previous); err != nil {
			return errors.NewErrorf(errorCode(err), "it cannot be served: %w", err)
		}
		if previous != nil {
			undo = append(undo, func() error { return old.rollback(previous, s) })
		}
		if err := s.notifyRegistered(); err != nil {
			return err
		}
	}
	return nil
}

// register makes a service reachable, in place of the one before it unless that is nil.
func (v *version) register(s, previous *managedService) (err error) {
	if previous == nil {
		s.registration, err = v.host.server.Register(s.Descriptor, s.Handlers, v.registerOptions(s.Service)...)
	} else {
		s.registration, err = previous.registration.Replace(s.Descriptor, s.Handlers, v.registerOptions(s.Service)...)
	}
	return err
}

// rollback serves before again, in place of s.
func (v *version) rollback(previous, s *managedService) error {
	registration, err := s.registration.Replace(previous.Descriptor, previous.Handlers, v.registerOptions(previous.Service)...)
	if err != nil {
		return errors.NewErrorf(errorCode(err),
			"service %s: the version before cannot be put back, and is not served any more: %w", s.name, err)
	}
	v.rolledBack = append(v.rolledBack, previous.registration)
	previous.registration = registration
	return previous.notifyRegistered()
}

// notifyRegistered gives the code its registration.
func (s *managedService) notifyRegistered() error {
	if s.Registered == nil {
		return nil
	}
	if err := guard("Registered", func() error { return s.Registered(s.registration) }); err != nil {
		return errors.NewErrorf(errorCode(err), "service %s: its function Registered failed: %w", s.name, err)
	}
	return nil
}
