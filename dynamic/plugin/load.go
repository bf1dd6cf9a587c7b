package plugin

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Load serves the plugin of a folder, in place of the one of that name if there is one. When it returns, all requests
// go to the new version; handlers of the version before are finished in the background, and its code is closed after
// them. Code that serves on the bus by itself, as processes do, goes on to take requests until it has learned that it
// is to end.
//
// Content that is served already is not loaded again. If Load fails, the version before goes on as it did, and
// [Host.List] has the error; so it does, with the code already_exists, if another plugin serves one of the services.
// ctx bounds the load only.
func (h *Host) Load(ctx context.Context, folder string) error {
	_, err := h.load(ctx, folder)
	return err
}

// load returns the name of the plugin.
func (h *Host) load(ctx context.Context, folder string) (name string, err error) {
	ctx, leave, err := h.enter(ctx, h.runCtx)
	if err != nil {
		return "", err
	}
	defer leave()
	source, err := ReadSource(folder)
	if err != nil {
		h.markUnreadable(folder, err)
		return "", err
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
		err = errors.NewErrorf(errorCode(err), "plugin %s %s in %s: %w", source.Name, source.Version, source.Folder, err)
		h.markFailed(p, source, err)
		return "", err
	}
	return p.name, nil
}

// markUnreadable notes a problem where the plugin of that folder is listed, or the folder if there is none.
func (h *Host) markUnreadable(folder string, err error) {
	if absolute, absErr := filepath.Abs(folder); absErr == nil {
		folder = absolute
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	event := Event{Kind: Failed, Folder: folder, Err: err}
	if p := h.inFolderLocked(folder); p != nil {
		p.loadErr, p.status.Err = err, err
		event.Plugin = p.name
	} else if _, missing := os.Stat(folder); missing == nil {
		h.unreadable[folder] = Status{Folder: folder, State: StateFailed, Since: time.Now(), Err: err}
	}
	h.events.Put(event)
}

func (h *Host) markReadable(folder string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.unreadable, folder)
}

func (h *Host) inFolderLocked(folder string) *managedPlugin {
	for _, p := range h.plugins {
		if p.status.Folder == folder {
			return p
		}
	}
	return nil
}

// alreadyServing reports whether the content is what is served. Then the folder is where the plugin is from now on.
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

// markFailed notes why a version is not served.
func (h *Host) markFailed(p *managedPlugin, source *Source, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p.loadErr, p.status.Err = err, err
	if p.current == nil {
		p.setSourceLocked(source)
		p.setStateLocked(StateFailed, err)
	}
	h.events.Put(Event{Kind: Failed, Plugin: p.name, Version: source.Version, Folder: source.Folder, Err: err})
}

// replace serves a version of the plugin, all of it or nothing.
func (h *Host) replace(ctx context.Context, p *managedPlugin, source *Source) error {
	v := &version{host: h, plugin: p, source: source, closed: make(chan struct{})}
	h.mu.Lock()
	old := p.current
	h.live[v] = struct{}{}
	if old == nil {
		p.setSourceLocked(source)
		p.setStateLocked(StateLoading, nil)
	}
	h.mu.Unlock()

	err := h.reserve(ctx, v, source.namesToReserve())
	if err == nil {
		err = v.start(ctx)
	}
	if err == nil {
		err = h.reserve(ctx, v, v.namesToReserve())
	}
	if err == nil {
		err = v.swap(old)
	}
	if err != nil {
		return errors.Join(err, v.shutdown(ctx))
	}
	h.commit(p, old, v)
	return nil
}

// commit makes v what is served, and retires the version before it in the background.
func (h *Host) commit(p *managedPlugin, old, v *version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	event := Event{Kind: Loaded, Plugin: p.name, Version: v.source.Version, Folder: v.source.Folder}
	if old != nil {
		event.Kind = Replaced
		old.draining = true
		old.reservedNames = slices.DeleteFunc(old.reservedNames, func(name string) bool { return slices.Contains(v.reservedNames, name) })
		h.drains.Go(func() { // Shutdown waits for it
			if err := old.shutdown(context.Background()); err != nil {
				h.options.logger.Warn("dynpsrpc: plugin " + p.name + " " + old.source.Version + ", which was replaced: " + err.Error())
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
	if v.healthErr != nil { // it faltered at once
		h.events.Put(Event{Kind: Degraded, Plugin: p.name, Version: v.source.Version, Folder: v.source.Folder, Err: v.healthErr})
	}
}
