package plugin

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// hosted is one plugin, of whatever version.
type hosted struct {
	name string
	turn chan struct{} // has room for one: whoever has put something in may change the plugin

	// These are guarded by Host.mu.
	status          Status
	current         *version // nil if none is served
	failure         error    // why the newest content of the folder is not served
	handled, failed uint64   // by the versions that are gone
}

// take returns when nobody else changes the plugin.
func (p *hosted) take(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errors.NewErrorf(errors.FromContext(ctx.Err()).Code(),
			"plugin %s: another change of it is under way: %w", p.name, ctx.Err())
	}
}

func (p *hosted) release() { <-p.turn }

func (p *hosted) setStateLocked(state State, err error) {
	if err == nil {
		err = p.failure
	}
	p.status.State, p.status.Err, p.status.Since = state, err, time.Now()
}

// leaveLocked makes other plugins wait until this one is gone, instead of failing for what it has.
func (p *hosted) leaveLocked() {
	if p.current != nil {
		p.current.leaving = true
		p.setStateLocked(StateDraining, nil)
	}
}

// stayLocked undoes leaveLocked.
func (p *hosted) stayLocked() {
	if p.current == nil || !p.current.leaving {
		return
	}
	p.current.leaving = false
	p.serveLocked()
}

// serveLocked makes the state that of the version that is served.
func (p *hosted) serveLocked() {
	if p.current.trouble != nil {
		p.setStateLocked(StateDegraded, p.current.trouble)
	} else {
		p.setStateLocked(StateServing, nil)
	}
}

// describeLocked makes the status that of a source.
func (p *hosted) describeLocked(source *Source) {
	p.status.Name, p.status.Version, p.status.Loader = source.Name, source.Version, source.Loader
	p.status.Folder, p.status.Digest = source.Folder, source.Digest
}

// takePlugin returns the plugin of that name, new if need be, when nobody else changes it. Release it in the end.
func (h *Host) takePlugin(ctx context.Context, source *Source) (*hosted, error) {
	for {
		h.mu.Lock()
		p := h.plugins[source.Name]
		if p == nil {
			p = &hosted{name: source.Name, turn: make(chan struct{}, 1)}
			p.describeLocked(source)
			p.setStateLocked(StateLoading, nil)
			h.plugins[source.Name] = p
		}
		h.mu.Unlock()
		if err := p.take(ctx); err != nil {
			return nil, err
		}
		h.mu.Lock()
		present := h.plugins[source.Name] == p
		h.mu.Unlock()
		if present {
			return p, nil
		}
		p.release() // it was unloaded meanwhile
	}
}
