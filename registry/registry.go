package registry

import (
	"sync"
	"sync/atomic"
)

// Registry stores services by name and resolves the message types that they use (see
// [Registry.FindMessageByURL]). The zero value is an empty registry that is ready to use. A
// Registry must not be copied after first use.
type Registry struct {
	// byName maps the full protobuf name of each service to its *Service.
	byName sync.Map
	// byWireName maps the wire name of each service to its *Service.
	byWireName sync.Map
	types      typeIndex
	// grpcServices contains the full names of the gRPC services that were left out.
	grpcServices sync.Map
	// options does not change after New has returned.
	options loadOptions

	// generation counts the changes to the registry.
	generation atomic.Uint64

	// mu is held while services are added or removed.
	mu sync.Mutex
}

// New returns an empty registry.
func New(opts ...LoadOption) *Registry {
	r := new(Registry)
	for _, opt := range opts {
		if opt != nil {
			opt(&r.options)
		}
	}
	return r
}

// Generation returns a number that grows whenever a service is added or removed. A program that
// caches data derived from the services can compare this number to find out whether its cache is
// outdated. The number grows after the change, so the program must read it before the services.
func (r *Registry) Generation() uint64 { return r.generation.Load() }
