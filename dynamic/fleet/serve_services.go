package fleet

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// serviceTable keeps the digests of the services of a server. Computing one takes long: all
// descriptors must be encoded.
type serviceTable struct {
	mu      sync.Mutex
	digests map[*registry.Service]Digest
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
