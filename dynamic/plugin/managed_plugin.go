package plugin

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// managedPlugin is one plugin, of whatever version.
type managedPlugin struct {
	name string
	lock chan struct{} // has room for one: whoever has put something in may change the plugin

	// These are guarded by Host.mu.
	status          Status
	current         *version // nil if none is served
	loadErr         error    // why the newest content of the folder is not served
	handled, failed uint64   // by the versions that are gone
}

// acquire returns when nobody else changes the plugin.
func (p *managedPlugin) acquire(ctx context.Context) error {
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
			"plugin %s: another change of it is under way: %w", p.name, ctx.Err())
	}
}

func (p *managedPlugin) release() { <-p.lock }

func (p *managedPlugin) setStateLocked(state State, err error) {
	if err == nil {
		err = p.loadErr
	}
	p.status.State, p.status.Err, p.status.Since = state, err, time.Now()
}

// markDrainingLocked makes other plugins wait until this one is gone, instead of failing for what it has.
func (p *managedPlugin) markDrainingLocked() {
	if p.current != nil {
		p.current.draining = true
		p.setStateLocked(StateDraining, nil)
	}
}

// keepServingLocked undoes markDrainingLocked.
func (p *managedPlugin) keepServingLocked() {
	if p.current == nil || !p.current.draining {
		return
	}
	p.current.draining = false
	p.updateStateLocked()
}

// updateStateLocked makes the state that of the version that is served.
func (p *managedPlugin) updateStateLocked() {
	if p.current.healthErr != nil {
		p.setStateLocked(StateDegraded, p.current.healthErr)
	} else {
		p.setStateLocked(StateServing, nil)
	}
}

// setSourceLocked makes the status that of a source.
func (p *managedPlugin) setSourceLocked(source *Source) {
	p.status.Name, p.status.Version, p.status.Loader = source.Name, source.Version, source.Loader
	p.status.Folder, p.status.Digest = source.Folder, source.Digest
}

// acquirePlugin returns the plugin of that name, new if need be, when nobody else changes it. Release it in the end.
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
		p.release() // it was unloaded meanwhile
	}
}
