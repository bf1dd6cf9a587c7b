package dynamic

import (
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// recorderSlot holds the recorder of one method of one registration. Without a recorder, the
// pointer is nil, so a call only has to read the pointer.
type recorderSlot struct{ atomic.Pointer[MethodRecorder] }

// set stores the recorder that ofServer returns for a method. If ofServer is nil, set removes the
// current recorder.
func (s *recorderSlot) set(ofServer *ServerRecorder, method *registry.Method) {
	if ofServer == nil {
		s.Store(nil)
		return
	}
	if recorder := (*ofServer).MethodRecorder(method); recorder != nil {
		s.Store(&recorder)
	}
}

// Record tells recorder what the server does from now on, until stop is called. This applies to all
// services, including those that are already registered. A request that the server is already
// handling is not recorded. A server has at most one recorder, so Record returns an error with code
// already_exists if there is another one. After stop has returned, calls that have begun before are
// still recorded.
func (s *Server) Record(recorder ServerRecorder) (stop func(), err error) {
	if recorder == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "dynamic.Server.Record: the recorder is nil")
	}
	if !s.recorder.CompareAndSwap(nil, &recorder) {
		return nil, errors.NewErrorf(errors.AlreadyExists, "server %s has a recorder already", s.ID())
	}
	s.setRecorders()
	return func() {
		if s.recorder.CompareAndSwap(&recorder, nil) {
			s.setRecorders()
		}
	}, nil
}

// setRecorders gives the server's recorder to all registrations.
func (s *Server) setRecorders() {
	s.mu.Lock()
	registrations := s.registrationsLocked()
	s.mu.Unlock()
	for _, r := range registrations {
		r.setRecorders()
	}
}

// setRecorders sets the recorders of all methods. It is called when r has been added to the server,
// and when the server's recorder has changed. Both may happen at the same time, so setRecorders
// begins again if the server's recorder has changed in the meantime. No lock is held, because the
// recorder is user code.
func (r *Registration) setRecorders() {
	for {
		recorder := r.server.recorder.Load()
		for _, method := range r.service.Methods() {
			r.recorders[method.Name()].set(recorder, method)
		}
		if r.server.recorder.Load() == recorder {
			return
		}
	}
}

// recordChange tells the server's recorder about a change. service is nil if the whole server has
// changed. The caller must hold no lock.
func (s *Server) recordChange(kind ServerChangeKind, service *registry.Service) {
	if recorder := s.recorder.Load(); recorder != nil {
		(*recorder).RecordChange(ServerChange{Kind: kind, Service: service})
	}
}

// recordRemoved tells the server's recorder that r is no longer served, unless r has never been
// served, for example because a subscription has failed.
func (r *Registration) recordRemoved() {
	if r.served.Load() {
		r.server.recordChange(ServiceRemoved, r.service)
	}
}

// recordPanic tells the recorder of a method about a panic.
func (r *Registration) recordPanic(method *registry.Method) {
	if slot := r.recorders[method.Name()]; slot != nil {
		if recorder := slot.Load(); recorder != nil {
			(*recorder).RecordPanic()
		}
	}
}

// recordClaim tells the recorder of the method whether the server has claimed or declined a
// request.
func (p *serverPlan) recordClaim(affinity float32) {
	if recorder := p.recorder.Load(); recorder != nil {
		(*recorder).RecordClaim(affinity)
	}
}
