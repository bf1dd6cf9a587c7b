package fleet

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// serviceTable keeps the digests of the services of a server. Computing a digest is slow, because
// all descriptors of the service must be encoded.
type serviceTable struct {
	mu      sync.Mutex
	digests map[*registry.Service]Digest
	// scoped contains the services whose scopes are registered or were refused by the bus.
	scoped map[*registry.Service]struct{}
	// scopedMore is closed when scoped changes. It is nil while no goroutine waits for it.
	scopedMore chan struct{}
}

// setScoped replaces t.scoped with these services, whose scopes are registered or were refused by
// the bus.
func (t *serviceTable) setScoped(services []*registry.Service) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.scoped = make(map[*registry.Service]struct{}, len(services))
	for _, service := range services {
		t.scoped[service] = struct{}{}
	}
	if t.scopedMore != nil {
		close(t.scopedMore)
		t.scopedMore = nil
	}
}

// unscoped returns nil if the scopes of all services are registered or were refused by the bus.
// Otherwise, it returns a channel that is closed when this may have changed.
func (t *serviceTable) unscoped(services []*registry.Service) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, service := range services {
		if _, done := t.scoped[service]; done {
			continue
		}
		if t.scopedMore == nil {
			t.scopedMore = make(chan struct{})
		}
		return t.scopedMore
	}
	return nil
}

// digest returns the digest of a service, or the zero digest if its descriptors cannot be encoded.
func (t *serviceTable) digest(service *registry.Service) Digest {
	t.mu.Lock()
	digest, known := t.digests[service]
	t.mu.Unlock()
	if known {
		return digest
	}
	// After an error, the digest is zero, which means that it is not known.
	digest, _ = DigestOf(service.Descriptor())
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.digests == nil {
		t.digests = map[*registry.Service]Digest{}
	}
	t.digests[service] = digest
	return digest
}

// prune removes all services that are not in current.
func (t *serviceTable) prune(current []*registry.Service) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := make(map[*registry.Service]Digest, len(current))
	for _, service := range current {
		if digest, known := t.digests[service]; known {
			kept[service] = digest
		}
	}
	t.digests = kept
}
