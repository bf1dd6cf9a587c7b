package plugin

import (
	"context"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// reserve reserves service names for v. They replace the names that v reserved earlier. If another
// plugin has reserved one of them, reserve returns an error. If the version with the name is being
// drained, reserve waits until it is closed, but no longer than the drain timeout and the grace
// periods for handlers and code.
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

// ownerLocked returns one of the names that another version has reserved, and that version. It
// ignores v and the version that v is about to replace. If all names are free, owner is nil. The
// caller must hold h.mu.
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
