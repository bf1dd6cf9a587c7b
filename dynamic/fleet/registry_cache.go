package fleet

import (
	"log/slog"
	"sync"

	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// maxRegistries is the maximum number of registries that a Fleet caches.
const maxRegistries = 256

// registryCache caches the registries of versions. The zero value is empty.
type registryCache struct {
	mu      sync.Mutex
	entries map[versionKey]*registry.Registry
}

// load returns the registry of a version. If it is not in the cache, load gets its descriptors by
// calling describe. Several goroutines may get the same descriptors, which does no harm.
func (c *registryCache) load(
	v *Version, describe func(Digest) (*descriptorpb.FileDescriptorSet, error),
) (*registry.Registry, error) {
	c.mu.Lock()
	reg := c.entries[v.key()]
	c.mu.Unlock()
	if reg != nil {
		return reg, nil
	}
	files, err := describe(v.Digest)
	if err != nil {
		return nil, err
	}
	reg = registry.New(quiet(), registry.WithWireNames(map[string]string{v.Name: v.WireName}))
	if err := reg.RegisterDescriptorSet(files); err != nil {
		return nil, errors.NewErrorf(errors.MalformedResponse, "descriptors of %s with digest %s: %w", v.Name, v.Digest, err)
	}
	if _, ok := reg.Service(v.Name); !ok {
		return nil, errors.NewErrorf(errors.MalformedResponse, "descriptors with digest %s: they do not declare %s", v.Digest, v.Name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxRegistries || c.entries == nil {
		c.entries = make(map[versionKey]*registry.Registry)
	}
	c.entries[v.key()] = reg
	return reg, nil
}

// quiet returns the option that turns off warnings about schemas, because the schemas come from
// other programs.
func quiet() registry.LoadOption { return registry.WithLogger(slog.New(slog.DiscardHandler)) }
