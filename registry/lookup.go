package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/similar"
)

// Service returns the service with the given full protobuf name, such as "my.pkg.MyService".
func (r *Registry) Service(name string) (*Service, bool) { return load(&r.byName, name) }

// FindService is like [Registry.Service], but returns an error if there is no such service. The
// error wraps [ErrNotRegistered] and suggests a similar name, if there is one.
func (r *Registry) FindService(name string) (*Service, error) {
	if s, ok := r.Service(name); ok {
		return s, nil
	}
	if slices.Contains(r.GRPCServices(), name) {
		return nil, fmt.Errorf("service %s is %w: it is a gRPC service, with the stream keyword", name, ErrNotRegistered)
	}
	services := r.Services()
	names := make([]string, len(services))
	for i, s := range services {
		names[i] = s.String()
	}
	hint := similar.Hint(name, names)
	switch {
	case hint != "":
	case len(names) == 0:
		hint = "; the registry is empty"
	case len(names) <= maxNamed:
		hint = "; registered: " + strings.Join(names, ", ")
	}
	return nil, fmt.Errorf("service %s is %w%s", name, ErrNotRegistered, hint)
}

// FindMethod is like [Registry.Method], but returns an error if there is no such method. The error
// wraps [ErrNotRegistered] and suggests a similar name, if there is one.
func (r *Registry) FindMethod(name string) (*Method, error) {
	if m, ok := r.Method(name); ok {
		return m, nil
	}
	var names []string
	for _, s := range r.Services() {
		for _, m := range s.methods {
			names = append(names, m.FullName())
		}
	}
	return nil, fmt.Errorf("method %s is %w; names look like my.pkg.MyService/MyMethod%s",
		name, ErrNotRegistered, similar.Hint(name, names))
}

// maxNamed is the maximum number of registered services that an error about an unknown service
// lists. If there are more, it lists none.
const maxNamed = 8

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
