package plugin

import (
	"context"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// namesToReserve are those of the source, and those of the services that the code has.
func (v *version) namesToReserve() []string {
	names := v.source.namesToReserve()
	for _, s := range v.services {
		names = append(names, string(s.name), s.wireName)
	}
	return names
}

// reserve reserves the names of services for a version, unless another plugin has them. Names that something has which is
// on its way out are waited for, as long as that may take.
func (h *Host) reserve(ctx context.Context, v *version, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, h.options.drainTimeout+2*closeGrace)
	defer cancel()
	for {
		h.mu.Lock()
		name, owner := h.ownerLocked(v, names)
		if owner == nil {
			v.reservedNames = names
			h.mu.Unlock()
			return nil
		}
		draining, plugin := owner.draining, owner.plugin.name
		h.mu.Unlock()
		if !draining {
			return errors.NewErrorf(errors.AlreadyExists,
				"service %s is served by plugin %s: unload that first, or give this one another wire name", name, plugin)
		}
		select {
		case <-owner.closed:
		case <-ctx.Done():
			return errors.NewErrorf(errors.FromContext(ctx.Err()).Code(),
				"service %s is still being drained by plugin %s: %w", name, plugin, ctx.Err())
		}
	}
}

// ownerLocked returns another version that has one of the names. What v is to replace does not count.
func (h *Host) ownerLocked(v *version, names []string) (name string, owner *version) {
	for other := range h.live {
		if other == v || other == v.plugin.current {
			continue
		}
		for _, name := range names {
			if slices.Contains(other.reservedNames, name) {
				return name, other
			}
		}
	}
	return "", nil
}
