package serve

import "github.com/dynpsrpc/dynpsrpc/errors"

// add adds s to the served services. If the engine is drained, add suspends s, unless s is
// served while drained. It returns an error if the wire name of s is already in use or if the
// engine has been closed.
func (e *Engine) add(s *Service) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errors.ErrServerClosed
	}
	name := s.Descriptor.WireName()
	if other := e.services[name]; other != nil && other.Descriptor.Name() == s.Descriptor.Name() {
		return errors.NewErrorf(errors.AlreadyExists,
			"service %s is already registered on this server: replace or close its registration", s.Descriptor.Name())
	} else if other != nil {
		return errors.NewErrorf(errors.AlreadyExists,
			"service %s: its wire name %s is that of service %s on this server; register it with dynamic.WithWireName",
			s.Descriptor.Name(), name, other.Descriptor.Name())
	}
	e.services[name] = s
	s.suspended.Store(e.drained && !s.ServesWhileDrained)
	return nil
}

// remove removes s from the engine. If another version has replaced s, the other version is kept.
func (e *Engine) remove(s *Service) {
	e.mu.Lock()
	removed := e.removeLocked(s)
	delete(e.draining, s)
	e.mu.Unlock()
	if removed {
		s.recordRemoved()
	}
}

// removeLocked frees the wire name of s. It returns false if s does not have the name. The caller
// must hold mu.
func (e *Engine) removeLocked(s *Service) bool {
	name := s.Descriptor.WireName()
	if e.services[name] != s {
		return false
	}
	delete(e.services, name)
	return true
}

// forget frees the wire name of s, which has been closed or killed. If the subscriptions of s have
// not ended yet, forget keeps s in e.draining, so that Shutdown waits for them.
func (e *Engine) forget(s *Service, end *serviceEnd) {
	e.mu.Lock()
	removed := e.removeLocked(s)
	select {
	case <-end.released:
		delete(e.draining, s)
	default:
		e.draining[s] = struct{}{}
	}
	e.mu.Unlock()
	if removed {
		s.recordRemoved()
	}
}

// addDraining adds s, which is about to replace another version, to e.draining. A concurrent
// Shutdown or Kill then closes s too. If the engine is drained, addDraining suspends s, unless s is
// served while drained.
func (e *Engine) addDraining(s *Service) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errors.ErrServerClosed
	}
	e.draining[s] = struct{}{}
	s.suspended.Store(e.drained && !s.ServesWhileDrained)
	return nil
}
