package dynamic

import (
	"cmp"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Services returns the registered services, sorted by full name. The caller may modify the slice.
func (s *Server) Services() []*registry.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	services := make([]*registry.Service, 0, len(s.services))
	for _, r := range s.services {
		services = append(services, r.service)
	}
	slices.SortFunc(services, func(a, b *registry.Service) int {
		return cmp.Or(cmp.Compare(a.Name(), b.Name()), cmp.Compare(a.WireName(), b.WireName()))
	})
	return services
}
