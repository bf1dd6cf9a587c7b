package dynamic

import (
	"cmp"
	"iter"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Services returns the registered services, sorted by full name. The caller may modify the slice.
func (s *Server) Services() []*registry.Service {
	registrations := s.Registrations()
	services := make([]*registry.Service, 0, len(registrations))
	for _, r := range registrations {
		services = append(services, r.service)
	}
	return services
}

// Registrations returns the current registrations, sorted by the full name of the service. It
// leaves out registrations that have been replaced. The caller may modify the slice.
func (s *Server) Registrations() []*Registration {
	var registrations []*Registration
	for _, service := range s.engine.Services() {
		registrations = append(registrations, service.Owner.(*Registration))
	}
	slices.SortFunc(registrations, func(a, b *Registration) int {
		return cmp.Or(cmp.Compare(a.service.Name(), b.service.Name()), cmp.Compare(a.service.WireName(), b.service.WireName()))
	})
	return registrations
}

// ServedMethod describes how a registration serves a method.
type ServedMethod struct {
	*registry.Method
	// Unimplemented reports whether the method has no handler, so that all requests fail; see
	// [AllowMissing]. It is false for subscriptions, which have no handlers.
	Unimplemented bool
	// MaxConcurrent is the limit of [WithMaxConcurrent], or 0 if there is none.
	MaxConcurrent int
}

// Methods returns all methods of the service, in the order of the descriptor.
func (r *Registration) Methods() []ServedMethod {
	var methods []ServedMethod
	for _, method := range r.service.Methods() {
		served := ServedMethod{Method: method}
		if handler := r.handlers[method.Name()]; handler != nil {
			served.Unimplemented, served.MaxConcurrent = handler.Missing, handler.MaxConcurrent
		}
		methods = append(methods, served)
	}
	return methods
}

// Topics returns the topics that are currently registered, with their methods, in no particular
// order. The caller must not modify the topics.
func (r *Registration) Topics() iter.Seq2[*registry.Method, []string] {
	return r.engine.Topics()
}
