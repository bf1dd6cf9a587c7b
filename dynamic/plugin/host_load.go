package plugin

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Load loads the plugin in a folder and starts serving it. If a plugin with the same name is
// already served, the new version replaces it. The handlers of the previous version finish in the
// background, and then its code is stopped. When Load returns, all new requests go to the new
// version, unless the previous version has its own connection to the bus, as a process does. Such a
// version may receive a few new requests before it stops.
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

// replace loads source as a new version of p and starts serving it. If replace cannot serve all
// services of the new version, it returns an error and the previous version keeps serving.
func (h *Host) replace(ctx context.Context, p *managedPlugin, source *Source) error {
	if len(source.grpcServices) > 0 {
		h.options.logger.Info("dynpsrpc: plugin "+source.Name+" has descriptors of gRPC services, which are left out",
			slog.Any("services", source.grpcServices))
	}
	v := &version{host: h, plugin: p, source: source, closed: make(chan struct{})}
	previous := h.addVersion(v)

	// First reserve the service names from the manifest and the descriptors. A Go plugin need not
	// list its services there. After its code has been loaded, the names of the services in the
	// code are therefore reserved too.
	err := v.reserve(ctx, v.namesToReserve())
	if err == nil {
		err = v.start(ctx)
	}
	if err == nil {
		err = v.reserve(ctx, v.namesToReserve())
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

// addVersion adds v to h.live. It returns the version of the plugin that is currently being served,
// or nil if there is none. In the latter case, it also sets the state of the plugin to loading.
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

// commit makes v the current version of its plugin and emits an event. If the code of v is already
// unhealthy, commit emits a second event. If previous is not nil, commit shuts it down in the
// background.
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
		h.drains.Go(func() { // Shutdown waits for this goroutine
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
	if v.healthErr != nil { // the code became unhealthy before v was served
		h.events.Put(v.event(Degraded, v.healthErr))
	}
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
