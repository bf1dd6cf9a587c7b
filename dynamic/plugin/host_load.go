package plugin

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Load loads the plugin in a folder and starts serving it. If a plugin with the same name is
// already served, the new version replaces it. The handlers of the previous version finish in the
// background, and then its code is stopped. When Load returns, all new requests go to the new
// version. There is one exception: a previous version with its own connection to the bus, such as a
// process, may receive a few new requests before it stops.
//
// If the same content is already being served, Load does not load it again. If Load fails, the
// previous version keeps serving, and [Host.List] reports the error. The error has the code
// [errors.AlreadyExists] if another plugin already serves one of the services. ctx limits only the
// load itself; the plugin keeps running after ctx has ended.
func (h *Host) Load(ctx context.Context, folder string) error {
	_, err := h.load(ctx, folder)
	return err
}

// load implements Load and also returns the plugin's name.
func (h *Host) load(ctx context.Context, folder string) (name string, err error) {
	ctx, leave, err := h.enter(ctx, h.runCtx)
	if err != nil {
		return "", err
	}
	defer leave()
	source, err := openSource(ctx, folder)
	if err != nil {
		return "", h.markUnreadable(folder, err)
	}
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

// acquirePlugin returns the plugin named in the manifest of source and locks it for changes. If the
// plugin does not exist, acquirePlugin creates it. If another goroutine is changing the plugin,
// acquirePlugin waits until that goroutine is done or ctx ends. If the plugin is not serving any
// version, acquirePlugin sets its state to loading. The folder no longer counts as unreadable.
// After making its changes, the caller must call the plugin's release method.
func (h *Host) acquirePlugin(ctx context.Context, source *Source) (*managedPlugin, error) {
	for {
		h.mu.Lock()
		delete(h.unreadable, source.Folder)
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
		if stillListed && p.current == nil {
			p.setSourceLocked(source)
			p.setStateLocked(StateLoading, nil)
		}
		h.mu.Unlock()
		if stillListed {
			return p, nil
		}
		p.release() // p was unloaded before this goroutine acquired it
	}
}

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

// markFailed records why source could not be loaded and emits an event. It returns an error that
// wraps err and contains the plugin's name, version and folder. The event contains err itself,
// because it has separate fields for the name, version and folder.
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

// markUnreadable records why a folder could not be read and emits an event. If a plugin was loaded
// from the folder earlier, the error is recorded in the status of that plugin. If there is no such
// plugin but the folder exists, the error is recorded in h.unreadable. markUnreadable returns an
// error that wraps err and contains the path of the folder.
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

// markReadable deletes the error of an earlier attempt to read the folder.
func (h *Host) markReadable(folder string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.unreadable, folder)
}

// inFolderLocked returns a plugin that was loaded from the given folder, or nil if there is none.
// The caller must hold h.mu.
func (h *Host) inFolderLocked(folder string) *managedPlugin {
	for _, p := range h.plugins {
		if p.status.Folder == folder {
			return p
		}
	}
	return nil
}

// pluginInFolder returns the name of a plugin that was loaded from the given folder, or an empty
// string if there is none. It ignores the plugin with the name ignoredName.
func (h *Host) pluginInFolder(folder, ignoredName string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, p := range h.plugins {
		if p.status.Folder == folder && name != ignoredName {
			return name
		}
	}
	return ""
}
