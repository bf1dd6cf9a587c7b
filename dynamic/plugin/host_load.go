package plugin

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Load serves the plugin of a folder, and replaces the plugin of the same name if there is one.
// When Load returns, all new requests go to the new version; the handlers of the previous version
// finish in the background, and then its code is closed. Code that serves on the bus itself, such
// as a process, may receive requests for a moment longer, until it notices that it must end.
//
// Load does nothing if the same content is already served. If Load fails, the previous version
// keeps serving, and [Host.List] returns the error. The error has the code already_exists if
// another plugin serves one of the services. ctx bounds the load only, not the life of the plugin.
func (h *Host) Load(ctx context.Context, folder string) error {
	_, err := h.load(ctx, folder)
	return err
}

// load is Load and returns the plugin's name.
func (h *Host) load(ctx context.Context, folder string) (name string, err error) {
	ctx, leave, err := h.enter(ctx, h.runCtx)
	if err != nil {
		return "", err
	}
	defer leave()
	source, err := openSource(folder)
	if err != nil {
		return "", h.markUnreadable(folder, err)
	}
	h.markReadable(source.Folder)
	p, err := h.acquirePlugin(ctx, source)
	if err != nil {
		return "", err
	}
	defer p.release()
	if h.alreadyServing(p, source) {
		return p.name, nil
	}
	if err := h.replace(ctx, p, source); err != nil {
		return "", h.markFailed(p, source, err)
	}
	return p.name, nil
}

// acquirePlugin returns the plugin that source names, and adds it if it is new. It waits until no
// other goroutine changes the plugin. The caller must release it.
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

// alreadyServing reports whether p serves the content of source. If so, it sets the plugin's folder
// to that of source and clears the last error: the folder may have been renamed.
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

// replace loads source as a version of p and serves it. It serves all services of the version, or
// leaves the previous version as it is and returns an error.
func (h *Host) replace(ctx context.Context, p *managedPlugin, source *Source) error {
	v := &version{host: h, plugin: p, source: source, closed: make(chan struct{})}
	previous := h.addVersion(v)

	// The names of the manifest are reserved before the code runs, and the names that the code
	// serves afterwards: a Go plugin may declare its services in code only.
	err := h.reserve(ctx, v, source.namesToReserve())
	if err == nil {
		err = v.start(ctx)
	}
	if err == nil {
		err = h.reserve(ctx, v, v.namesToReserve())
	}
	if err == nil {
		err = v.swap(previous)
	}
	if err != nil {
		return errors.Join(err, v.shutdown(ctx))
	}
	h.commit(previous, v)
	return nil
}

// addVersion adds v to the live versions and returns the version that its plugin serves, or nil.
func (h *Host) addVersion(v *version) (previous *version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live[v] = struct{}{}
	if v.plugin.current == nil {
		v.plugin.setSourceLocked(v.source)
		v.plugin.setStateLocked(StateLoading, nil)
	}
	return v.plugin.current
}

// commit makes v the current version of its plugin. It emits an event and shuts down the previous
// version, if there is one, in the background.
func (h *Host) commit(previous, v *version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := v.plugin
	event := v.event(Loaded, nil)
	if previous != nil {
		event.Kind = Replaced
		previous.draining = true
		previous.reservedNames = slices.DeleteFunc(previous.reservedNames, func(name string) bool {
			return slices.Contains(v.reservedNames, name)
		})
		h.drains.Go(func() { // Shutdown waits for it
			if err := previous.shutdown(context.Background()); err != nil {
				h.options.logger.Warn("dynpsrpc: replaced version " + previous.source.Version + " of plugin " + p.name +
					" did not end cleanly: " + err.Error())
			}
		})
	}
	p.current, v.callCounter = v, v.chooseCallCounter()
	p.setSourceLocked(v.source)
	p.status.Services = v.serviceNames()
	p.status.Generation++
	p.loadErr = nil
	p.updateStateLocked()
	h.events.Put(event)
	if v.healthErr != nil { // the code reported it before the version was served
		h.events.Put(v.event(Degraded, v.healthErr))
	}
}

// markFailed records why source could not be loaded and emits an event. It returns err with the
// plugin's name, version and folder, which are fields of the event.
func (h *Host) markFailed(p *managedPlugin, source *Source, err error) error {
	withPlugin := errors.NewErrorf(errorCode(err),
		"plugin %s %s in %s: %w", source.Name, source.Version, source.Folder, err)
	h.mu.Lock()
	defer h.mu.Unlock()
	p.loadErr, p.status.Err = withPlugin, withPlugin
	if p.current == nil {
		p.setSourceLocked(source)
		p.setStateLocked(StateFailed, withPlugin)
	}
	h.events.Put(Event{Kind: Failed, Plugin: p.name, Version: source.Version, Folder: source.Folder, Err: err})
	return withPlugin
}

// markUnreadable records why a folder cannot be read, on its plugin or, if the folder has none, as
// an entry of its own, and emits an event. It returns err with the path of the folder.
func (h *Host) markUnreadable(folder string, err error) error {
	if absolute, absErr := filepath.Abs(folder); absErr == nil {
		folder = absolute
	}
	withFolder := errorInFolder(folder, err)
	h.mu.Lock()
	defer h.mu.Unlock()
	event := Event{Kind: Failed, Folder: folder, Err: err}
	if p := h.inFolderLocked(folder); p != nil {
		p.loadErr, p.status.Err = withFolder, withFolder
		event.Plugin = p.name
	} else if _, missing := os.Stat(folder); missing == nil {
		h.unreadable[folder] = Status{Folder: folder, State: StateFailed, Since: time.Now(), Err: withFolder}
	}
	h.events.Put(event)
	return withFolder
}

// markReadable removes a folder from the unreadable ones.
func (h *Host) markReadable(folder string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.unreadable, folder)
}

// inFolderLocked returns a plugin that was loaded from a folder, or nil.
func (h *Host) inFolderLocked(folder string) *managedPlugin {
	for _, p := range h.plugins {
		if p.status.Folder == folder {
			return p
		}
	}
	return nil
}

// pluginInFolder returns the name of a plugin that was loaded from a folder and is not called
// except. It returns "" if there is none.
func (h *Host) pluginInFolder(folder, except string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, p := range h.plugins {
		if p.status.Folder == folder && name != except {
			return name
		}
	}
	return ""
}
