package plugin

import (
	"context"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

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

// commit makes v the current version of its plugin and emits an event. If the code of v is already
// unhealthy, commit emits a second event. If previous is not nil, commit shuts it down in the
// background.
func (h *Host) commit(previous, v *version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := v.plugin
	event := v.event(Loaded, nil)
	if previous != nil {
		event.Kind = Replaced
		previous.draining = true
		previous.reservedNames = slices.DeleteFunc(previous.reservedNames, func(name string) bool {
			return slices.Contains(v.reservedNames, name)
		})
		h.drains.Go(func() { // Shutdown waits for this goroutine
			if err := previous.shutdown(context.Background()); err != nil {
				h.options.logger.Warn("dynpsrpc: replaced version " + previous.source.Version + " of plugin " + p.name +
					" did not end cleanly: " + err.Error())
			}
		})
	}
	p.current, v.callCounter = v, v.chooseCallCounter()
	p.setSourceLocked(v.source)
	p.status.Services = v.serviceNames()
	p.status.Generation++
	p.loadErr = nil
	p.updateStateLocked()
	h.events.Put(event)
	if v.healthErr != nil { // the code became unhealthy before v was served
		h.events.Put(v.event(Degraded, v.healthErr))
	}
}

// serviceByWireName returns the service with the given wire name, or nil if there is none. The
// version v may be nil; the result is then also nil.
func (v *version) serviceByWireName(wireName string) *managedService {
	if v == nil {
		return nil
	}
	for _, s := range v.services {
		if s.wireName == wireName {
			return s
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

// rollback undoes a call to register in which s, from a newer version, took the place of a service
// of v. The argument replaced is that service. Afterwards, v serves the service again.
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
