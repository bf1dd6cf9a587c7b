package plugin

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// managedPlugin is the state of one plugin of a host, across its versions.
type managedPlugin struct {
	name string
	// lock serializes changes of the plugin. It is a channel of capacity one instead of a mutex
	// because acquire must honor a context: a load may take as long as its code does.
	lock chan struct{}

	// The fields below are guarded by Host.mu.

	status Status
	// current is the version that is served, or nil.
	current *version
	// loadErr is the reason why the newest content of the folder is not served.
	loadErr error
	// handled and failed are the counts of the versions that are closed.
	handled, failed uint64
}

// acquire waits until no other goroutine changes the plugin, or until ctx ends.
func (p *managedPlugin) acquire(ctx context.Context) error {
	select { // a free lock is taken even if ctx has ended
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

// setStateLocked sets the state and its error. Without an error, the status keeps loadErr.
func (p *managedPlugin) setStateLocked(state State, err error) {
	if err == nil {
		err = p.loadErr
	}
	p.status.State, p.status.Err, p.status.Since = state, err, time.Now()
}

// markDrainingLocked marks the current version as draining: loads of other plugins that need its
// services then wait for them instead of failing.
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

// updateStateLocked sets the state to serving or degraded, by the health of the current version.
func (p *managedPlugin) updateStateLocked() {
	if p.current.healthErr != nil {
		p.setStateLocked(StateDegraded, p.current.healthErr)
	} else {
		p.setStateLocked(StateServing, nil)
	}
}

// setSourceLocked copies what the status has of a source.
func (p *managedPlugin) setSourceLocked(source *Source) {
	p.status.Name, p.status.Version, p.status.Loader = source.Name, source.Version, source.Loader
	p.status.Folder, p.status.Digest = source.Folder, source.Digest
}
