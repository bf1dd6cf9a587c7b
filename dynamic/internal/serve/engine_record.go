package serve

import (
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Record makes the engine notify recorder of everything that it does, until the function stop is
// called. If a call or stream began before that, its end is still recorded. An engine has at most
// one recorder, so Record returns an error with code already_exists if there is another one.
func (e *Engine) Record(recorder Recorder) (stop func(), err error) {
	if !e.recorder.CompareAndSwap(nil, &recorder) {
		return nil, errors.NewErrorf(errors.AlreadyExists, "server %s has a recorder already", e.ID)
	}
	e.setRecorders()
	return func() {
		if e.recorder.CompareAndSwap(&recorder, nil) {
			e.setRecorders()
		}
	}, nil
}

// setRecorders gives the engine's recorder to all services.
func (e *Engine) setRecorders() {
	e.mu.Lock()
	services := e.servicesLocked()
	e.mu.Unlock()
	for _, s := range services {
		s.setRecorders()
	}
}

// setRecorders sets the recorders of all methods. It is called when s has been added to the server,
// and when the server's recorder has changed. Both may happen at the same time, so setRecorders
// begins again if the server's recorder has changed in the meantime. No lock is held, because the
// recorder is user code.
func (s *Service) setRecorders() {
	for {
		recorder := s.engine.recorder.Load()
		for _, method := range s.Descriptor.Methods() {
			s.recorders[method.Name()].set(recorder, method)
		}
		if s.engine.recorder.Load() == recorder {
			return
		}
	}
}

// recordChange notifies the server's recorder of a change. service is nil if the whole server has
// changed. The caller must hold no lock.
func (e *Engine) recordChange(kind ChangeKind, service *registry.Service) {
	if recorder := e.recorder.Load(); recorder != nil {
		(*recorder).RecordChange(kind, service)
	}
}

// recordRemoved notifies the server's recorder that s is no longer served. It does not do so if s
// has never been served, for example because a subscription has failed.
func (s *Service) recordRemoved() {
	if s.served.Load() {
		s.engine.recordChange(ServiceRemoved, s.Descriptor)
	}
}

// RecordPanic notifies the recorder of a method of a panic.
func (s *Service) RecordPanic(method *registry.Method) {
	if slot := s.recorders[method.Name()]; slot != nil {
		if recorder := slot.Load(); recorder != nil {
			(*recorder).RecordPanic()
		}
	}
}

// RecordUpdate notifies the recorder of a method that an update was published.
func (s *Service) RecordUpdate(method string) {
	if recorder := s.recorders[method].Load(); recorder != nil {
		(*recorder).RecordUpdate()
	}
}
