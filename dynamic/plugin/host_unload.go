package plugin

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Unload stops serving a plugin and returns when the plugin's code has stopped. If ctx ends or the
// drain timeout expires, Unload cancels the contexts of the handlers that are still running and
// returns an error. The plugin is unloaded in this case too. However, if ctx ends while Unload
// waits for another change to the plugin, the plugin is not unloaded. If no plugin has the given
// name, the error has the code [errors.NotFound].
func (h *Host) Unload(ctx context.Context, name string) error {
	ctx, leave, err := h.enter(ctx, h.drainCtx)
	if err != nil {
		return err
	}
	defer leave()
	return h.unload(ctx, name, "")
}

// unload unloads a plugin. If folder is not empty, unload unloads the plugin only if it is still in
// that folder.
func (h *Host) unload(ctx context.Context, name, folder string) error {
	h.mu.Lock()
	p := h.plugins[name]
	h.mu.Unlock()
	if p == nil {
		return errors.NewErrorf(errors.NotFound, "plugin %s is not loaded", name)
	}
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.release()

	v, found := h.beginUnload(p, folder)
	if !found {
		return nil
	}
	var err error
	if v != nil {
		err = v.shutdown(ctx)
	}
	h.waitDrained(p)
	h.endUnload(p)
	if err != nil {
		return errors.NewErrorf(errorCode(err), "plugin %s was unloaded, but %w", name, err)
	}
	return nil
}

// beginUnload marks p as draining, removes its current version and returns that version. v is nil
// if p is not serving any version. found is false if another goroutine has already unloaded p. If
// folder is not empty and p is now in another folder, found is false too, and p keeps serving.
func (h *Host) beginUnload(p *managedPlugin, folder string) (v *version, found bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.plugins[p.name] != p {
		return nil, false
	}
	if folder != "" && p.status.Folder != folder {
		p.keepServingLocked()
		return nil, false
	}
	p.markDrainingLocked()
	v, p.current = p.current, nil
	return v, true
}

// waitDrained returns when all versions of p are closed.
func (h *Host) waitDrained(p *managedPlugin) {
	h.mu.Lock()
	var versions []<-chan struct{}
	for v := range h.live {
		if v.plugin == p {
			versions = append(versions, v.closed)
		}
	}
	h.mu.Unlock()
	for _, closed := range versions {
		<-closed
	}
}

// endUnload removes p from the host. If p was ever served, endUnload emits an event.
func (h *Host) endUnload(p *managedPlugin) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.plugins, p.name)
	if p.status.Generation > 0 {
		h.events.Put(Event{Kind: Unloaded, Plugin: p.name, Version: p.status.Version, Folder: p.status.Folder})
	}
}

// markUnloading sets the state of a plugin to draining. It is called before the plugin is unloaded
// in the background. In this state, loading another plugin with the same services waits instead of
// failing.
func (h *Host) markUnloading(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.plugins[name]; p != nil {
		p.markDrainingLocked()
	}
}
