package plugin

import (
	"slices"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// rehearse registers services on a server that nobody can reach. It finds what is wrong with them before any of them is
// served, and their names on the wire.
func (v *version) rehearse(services []Service) ([]*served, error) {
	local := bus.NewLocal()
	defer local.Close() //nolint:errcheck // nothing is on its way
	stage := dynamic.NewServer(local)
	defer stage.Kill()
	all := make([]*served, 0, len(services))
	var problems []error
	for _, service := range services {
		registration, err := stage.Register(service.Descriptor, service.Handlers, v.options(service)...)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		s := registration.Service()
		all = append(all, &served{Service: service, name: s.Name(), wireName: s.WireName()})
	}
	return all, errors.Join(problems...)
}

// takeOver serves all services in place of those of the old version, which may be nil, or changes nothing.
func (v *version) takeOver(old *version) (err error) {
	var undo []func() error
	defer func() {
		if err == nil {
			return
		}
		for _, back := range slices.Backward(undo) {
			err = errors.Join(err, back())
		}
	}()
	for _, s := range v.services {
		before := old.find(s.wireName)
		if err := v.serve(s, before); err != nil {
			return errors.NewErrorf(codeOf(err), "it cannot be served: %w", err)
		}
		if before != nil {
			undo = append(undo, func() error { return old.takeBack(before, s) })
		}
		if err := s.tell(); err != nil {
			return err
		}
	}
	return nil
}

// serve makes a service reachable, in place of the one before it unless that is nil.
func (v *version) serve(s, before *served) (err error) {
	if before == nil {
		s.registration, err = v.host.server.Register(s.Descriptor, s.Handlers, v.options(s.Service)...)
	} else {
		s.registration, err = before.registration.Replace(s.Descriptor, s.Handlers, v.options(s.Service)...)
	}
	return err
}

// takeBack serves before again, in place of s.
func (v *version) takeBack(before, s *served) error {
	registration, err := s.registration.Replace(before.Descriptor, before.Handlers, v.options(before.Service)...)
	if err != nil {
		return errors.NewErrorf(codeOf(err),
			"service %s: the version before cannot be put back, and is not served any more: %w", s.name, err)
	}
	v.earlier = append(v.earlier, before.registration)
	before.registration = registration
	return before.tell()
}

// tell gives the code its registration.
func (s *served) tell() error {
	if s.Registered == nil {
		return nil
	}
	if err := guard("Registered", func() error { return s.Registered(s.registration) }); err != nil {
		return errors.NewErrorf(codeOf(err), "service %s: its function Registered failed: %w", s.name, err)
	}
	return nil
}
