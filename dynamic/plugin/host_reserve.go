package plugin

import (
	"context"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// reserve reserves service names for a version, in place of those that v has reserved before. It
// fails if another plugin has reserved one of them. If that plugin is being unloaded or has
// replaced the service's version, reserve waits for the names: at most the drain timeout and the
// grace periods that follow it.
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
				"service %s is served by plugin %s: unload that plugin, or set another wire name in the field wire_names",
				name, plugin)
		}
		select {
		case <-owner.closed:
		case <-ctx.Done():
			return errors.NewErrorf(errors.FromContext(ctx.Err()).Code(),
				"waiting for plugin %s to drain service %s: %w", plugin, name, ctx.Err())
		}
	}
}

// ownerLocked returns another version that has reserved one of the names, and that name. It ignores
// the version that v is to replace.
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
