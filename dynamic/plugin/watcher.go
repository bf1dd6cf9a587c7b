package plugin

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// watcher follows one root. All of it belongs to the goroutine of Watch.
type watcher struct {
	host    *Host
	root    string
	system  *fsnotify.Watcher
	folders map[string]*watchedFolder // by path
	changes chan change               // the ends of loads and unloads
	loads   int                       // under way
	ends    int                       // of loads and unloads, but those that found a conflict
	ended   chan struct{}             // closed when Watch returns
}

// change is the end of a load or an unload.
type change struct {
	folder *watchedFolder
	load   bool
	plugin string // what was loaded
	err    error
}

// newWatcher fails if root is not there.
func newWatcher(h *Host, root string) (*watcher, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if _, err := os.ReadDir(root); err != nil {
		return nil, err
	}
	system, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, errors.NewError(errors.ResourceExhausted, err)
	}
	w := &watcher{
		host: h, root: root, system: system, folders: map[string]*watchedFolder{}, changes: make(chan change),
		ended: make(chan struct{}),
	}
	w.look()
	for _, f := range w.folders { // they may have been there for long
		f.touched = f.touched.Add(-h.options.debounce)
	}
	return w, nil
}

// close waits for the loads that are under way, which end with the context of Watch. The host waits for unloads.
func (w *watcher) close() {
	for w.loads > 0 {
		w.finish(<-w.changes)
	}
	close(w.ended)
	if err := w.system.Close(); err != nil {
		w.host.options.logger.Warn("dynpsrpc: the watch of plugins did not end well", slog.Any("error", err))
	}
}

func (w *watcher) run(ctx context.Context) {
	rescan := time.NewTicker(w.host.options.pollInterval)
	defer rescan.Stop()
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-w.system.Events:
			w.noteEvent(event.Name)
		case err := <-w.system.Errors: // events were lost
			w.host.options.logger.Debug("dynpsrpc: plugins are looked at anew", slog.Any("error", err))
			w.look()
		case <-rescan.C:
			w.look()
		case c := <-w.changes:
			w.finish(c)
		case <-wake.C:
		}
		if next := w.settle(ctx); next > 0 {
			wake.Reset(next)
		}
	}
}

// noteEvent finds the folder that a path is in.
func (w *watcher) noteEvent(path string) {
	relative, err := filepath.Rel(w.root, path)
	if err != nil || relative == "." {
		w.look()
		return
	}
	name, _, _ := strings.Cut(relative, string(filepath.Separator))
	w.folder(filepath.Join(w.root, name)).touch(w.system)
}

// look finds changes of which nothing was told.
func (w *watcher) look() {
	_ = w.system.Add(w.root) // it may be another folder of that name; if it is missing, the next look adds it
	entries, err := os.ReadDir(w.root)
	if err != nil && !os.IsNotExist(err) {
		w.host.options.logger.Warn("dynpsrpc: plugins cannot be looked at", slog.String("root", w.root), slog.Any("error", err))
		return
	}
	for _, entry := range entries {
		w.folder(filepath.Join(w.root, entry.Name()))
	}
	for _, f := range w.folders {
		f.look(w.system)
	}
}

// folder returns what is known of a folder, which may be new.
func (w *watcher) folder(path string) *watchedFolder {
	f := w.folders[path]
	if f == nil {
		f = &watchedFolder{path: path}
		f.touch(w.system)
		w.folders[path] = f
	}
	return f
}

// settle acts on folders that have been left alone, and returns how long it is until others may have been; 0 if there
// are none.
func (w *watcher) settle(ctx context.Context) (next time.Duration) {
	changed, removed, next := w.due()
	for _, f := range changed {
		f.busy, f.plugin = true, readName(f.path)
	}
	for _, f := range removed {
		if w.unload(f) && (next == 0 || next > w.host.options.debounce) {
			next = w.host.options.debounce
		}
	}
	for _, f := range changed {
		w.load(ctx, f)
	}
	return next
}

// due returns the folders that have been left alone since they have changed, and how long it is until others may have
// been.
func (w *watcher) due() (changed, removed []*watchedFolder, next time.Duration) {
	quiet := w.host.options.debounce
	for _, f := range w.folders {
		if f.touched.IsZero() || f.busy {
			continue
		}
		left := quiet - time.Since(f.touched)
		if left <= 0 && f.look(w.system) { // nothing has told of it
			left = quiet
		}
		switch {
		case left > 0 && (next == 0 || left < next):
			next = left
		case left > 0:
		case f.stamp == absent:
			removed = append(removed, f)
		default:
			changed = append(changed, f)
		}
	}
	return changed, removed, next
}

func (w *watcher) load(ctx context.Context, f *watchedFolder) {
	f.touched, f.begun = time.Time{}, w.ends
	w.loads++
	go func() { // close waits for it
		name, err := w.host.load(ctx, f.path)
		w.changes <- change{folder: f, load: true, plugin: name, err: err}
	}()
}

// unload reports whether that must wait: a plugin whose folder got another name is served on from there.
func (w *watcher) unload(f *watchedFolder) (later bool) {
	name := w.host.nameIn(f.path, "")
	if name == "" {
		w.host.markReadable(f.path)
		delete(w.folders, f.path)
		return false
	}
	return !w.unloadFrom(f, name)
}

// unloadFrom reports false, and does nothing, if the plugin is being loaded from another folder.
func (w *watcher) unloadFrom(f *watchedFolder, name string) bool {
	for _, other := range w.folders {
		if other.busy && other.plugin == name {
			return false
		}
	}
	f.touched, f.busy = time.Time{}, true
	w.host.announceUnload(name)
	w.host.drains.Go(func() { // Shutdown waits for it
		ctx, leave, err := w.host.enter(context.Background(), w.host.drainCtx)
		if err != nil {
			return
		}
		defer leave()
		err = w.host.unload(ctx, name, f.path)
		select {
		case w.changes <- change{folder: f, err: err}:
		case <-w.ended:
		}
	})
	return true
}

// finish notes the end of a change. What has failed is tried again when there is one plugin less that could be in the way,
// and a conflict also when another plugin has been loaded, or could not be: it may have given up the service.
func (w *watcher) finish(c change) {
	c.folder.busy = false
	if c.load {
		w.loads--
		c.folder.failure = c.err
	} else if c.err != nil {
		w.host.options.logger.Warn("dynpsrpc: " + c.err.Error())
	}
	if isConflict(c.err) {
		if c.folder.begun != w.ends { // what was in the way may be gone already
			c.folder.touch(w.system)
		}
		return
	}
	w.ends++
	if !c.load || c.err == nil {
		w.unloadRest(c)
	}
	for _, f := range w.folders {
		if f.failure != nil && (!c.load || isConflict(f.failure)) {
			f.touch(w.system)
		}
	}
}

// unloadRest unloads what else is served from the folder of a change: its plugin may have had another name before.
func (w *watcher) unloadRest(c change) {
	if !c.folder.touched.IsZero() || !c.load && c.folder.stamp != absent {
		return // it is looked at again
	}
	if rest := w.host.nameIn(c.folder.path, c.plugin); rest != "" {
		w.unloadFrom(c.folder, rest)
	}
}

// isConflict reports whether a load has failed because another plugin has one of the services.
func isConflict(err error) bool { return err != nil && errorCode(err) == errors.AlreadyExists }

// nameIn returns the name of a plugin that is in a folder and is not the wanted one, or an empty one.
func (h *Host) nameIn(folder, wanted string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, p := range h.plugins {
		if p.status.Folder == folder && name != wanted {
			return name
		}
	}
	return ""
}

func (h *Host) announceUnload(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.plugins[name]; p != nil {
		p.markDrainingLocked()
	}
}
