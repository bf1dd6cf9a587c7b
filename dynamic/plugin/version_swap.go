package plugin

import (
	"log/slog"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// dryRun registers the services with a server on a private in-process bus. All registration errors
// are thus found before any service is served. It returns the services with their wire names.
func (v *version) dryRun(services []Service) ([]*managedService, error) {
	local := bus.NewLocal()
	defer local.Close() //nolint:errcheck // no frames are in flight
	server := dynamic.NewServer(local, dynamic.WithLogger(slog.New(slog.DiscardHandler)))
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

// swap starts serving all services of v. A service that the previous version also serves is
// replaced atomically, so no request is lost. If a service cannot be served or its Registered
// function fails, swap returns an error, and the previous version serves all of its services again.
// If even that fails, the error says so. previous is nil if there is no previous version.
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

// register serves s on the host's server. If replaced is not nil, s takes the place of replaced.
func (v *version) register(s, replaced *managedService) (err error) {
	if replaced == nil {
		s.registration, err = v.host.server.Register(s.Descriptor, s.Handlers, v.registerOptions(s.Service)...)
	} else {
		s.registration, err = replaced.registration.Replace(s.Descriptor, s.Handlers, v.registerOptions(s.Service)...)
	}
	return err
}

// rollback undoes a call to register in which s, a service of a newer version, took the place of a
// service of v. Afterwards, the service of v is served again.
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

// registerOptions returns the options for registering s. These are the options set by the plugin's
// code and the wire name from the manifest. If the code does not count its own requests, they
// include interceptors that count requests.
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
