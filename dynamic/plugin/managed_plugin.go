package plugin

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

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
