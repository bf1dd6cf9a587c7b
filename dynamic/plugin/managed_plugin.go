package plugin

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// managedPlugin holds the state of one plugin of a host. All versions of a plugin share one
// managedPlugin.
type managedPlugin struct {
	name string
	// lock is held by the goroutine that is changing the plugin. It is a channel with capacity 1
	// rather than a mutex, because acquire must stop waiting when its context ends. The lock is
	// held while the plugin's code is loaded, which may take long.
	lock chan struct{}

	// The fields below are guarded by Host.mu.

	status Status
	// current is the version that is being served, or nil if there is none.
	current *version
	// loadErr is the reason why the newest content of the folder is not being served, or nil.
	loadErr error
	// handled and failed are the request counts of all closed versions together.
	handled, failed uint64
}

// acquirePlugin returns the plugin named in the manifest of source and locks it for changes. If the
// plugin does not exist, acquirePlugin creates it. If another goroutine is changing the plugin,
// acquirePlugin waits until that goroutine is done or ctx ends. When the caller has made its
// changes, it must call the method release of the plugin.
func (h *Host) acquirePlugin(ctx context.Context, source *Source) (*managedPlugin, error) {
	for {
		h.mu.Lock()
		p := h.plugins[source.Name]
		if p == nil {
			p = &managedPlugin{name: source.Name, lock: make(chan struct{}, 1)}
			p.setSourceLocked(source)
			p.setStateLocked(StateLoading, nil)
			h.plugins[source.Name] = p
		}
		h.mu.Unlock()
		if err := p.acquire(ctx); err != nil {
			return nil, err
		}
		h.mu.Lock()
		stillListed := h.plugins[source.Name] == p
		h.mu.Unlock()
		if stillListed {
			return p, nil
		}
		p.release() // p was unloaded before this goroutine acquired it
	}
}

// acquire locks the plugin for changes. It waits until no other goroutine is changing the plugin,
// and returns an error if ctx ends first.
func (p *managedPlugin) acquire(ctx context.Context) error {
	// If the lock is free, acquire succeeds even if ctx has already ended.
	select {
	case p.lock <- struct{}{}:
		return nil
	default:
	}
	select {
	case p.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errors.NewErrorf(errors.FromContext(ctx.Err()).Code(),
			"plugin %s: waiting for another load or unload: %w", p.name, ctx.Err())
	}
}

func (p *managedPlugin) release() { <-p.lock }

// alreadyServing reports whether p is already serving the content of source. If so, alreadyServing
// clears the error of the last load. It also sets the folder of p to that of source, because the
// folder may have been renamed.
func (h *Host) alreadyServing(p *managedPlugin, source *Source) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p.current == nil || p.current.source.fingerprint != source.fingerprint {
		return false
	}
	p.status.Folder = source.Folder
	p.loadErr, p.status.Err = nil, p.current.healthErr
	return true
}

// setSourceLocked sets the status fields that are taken from the source. The caller must hold
// Host.mu.
func (p *managedPlugin) setSourceLocked(source *Source) {
	p.status.Name, p.status.Version, p.status.Loader = source.Name, source.Version, source.Loader
	p.status.Folder, p.status.Digest = source.Folder, source.Digest
}

// setStateLocked sets the state and the error in the status. If err is nil, the error is set to
// loadErr. The caller must hold Host.mu.
func (p *managedPlugin) setStateLocked(state State, err error) {
	if err == nil {
		err = p.loadErr
	}
	p.status.State, p.status.Err, p.status.Since = state, err, time.Now()
}

// markDrainingLocked marks the current version as draining. From then on, loading another plugin
// with the same services waits instead of failing. The caller must hold Host.mu.
func (p *managedPlugin) markDrainingLocked() {
	if p.current != nil {
		p.current.draining = true
		p.setStateLocked(StateDraining, nil)
	}
}

// keepServingLocked undoes markDrainingLocked. The caller must hold Host.mu.
func (p *managedPlugin) keepServingLocked() {
	if p.current == nil || !p.current.draining {
		return
	}
	p.current.draining = false
	p.updateStateLocked()
}

// updateStateLocked sets the state to serving or degraded, depending on the health of the current
// version. The caller must hold Host.mu.
func (p *managedPlugin) updateStateLocked() {
	if p.current.healthErr != nil {
		p.setStateLocked(StateDegraded, p.current.healthErr)
	} else {
		p.setStateLocked(StateServing, nil)
	}
}
