package registry

import (
	"cmp"
	"slices"
	"strings"
	"sync"
)

// Service returns the service with the given full protobuf name, such as "my.pkg.MyService".
func (r *Registry) Service(name string) (*Service, bool) { return load(&r.byName, name) }

// ServiceByWireName returns the service that has the given name on the bus.
func (r *Registry) ServiceByWireName(name string) (*Service, bool) { return load(&r.byWireName, name) }

// Services returns all services, sorted by full name. Callers may modify the slice.
func (r *Registry) Services() []*Service {
	var services []*Service
	r.byName.Range(func(_, s any) bool {
		services = append(services, s.(*Service))
		return true
	})
	slices.SortFunc(services, func(a, b *Service) int { return cmp.Compare(a.Name(), b.Name()) })
	return services
}

// Method returns the method with the given full name. It accepts "my.pkg.MyService/NormalRPC",
// "/my.pkg.MyService/NormalRPC" and "my.pkg.MyService.NormalRPC".
func (r *Registry) Method(name string) (*Method, bool) {
	name = strings.TrimPrefix(name, "/")
	at := strings.LastIndexByte(name, '/')
	if at < 0 {
		at = strings.LastIndexByte(name, '.')
	}
	if at < 0 {
		return nil, false
	}
	s, ok := r.Service(name[:at])
	if !ok {
		return nil, false
	}
	return s.Method(name[at+1:])
}

func load(m *sync.Map, name string) (*Service, bool) {
	s, ok := m.Load(name)
	if !ok {
		return nil, false
	}
	return s.(*Service), true
}
