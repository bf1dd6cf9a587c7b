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
	host         *Host
	root         string
	fsWatcher    *fsnotify.Watcher
	folders      map[string]*watchedFolder // by path
	results      chan changeResult         // the ends of loads and unloads
	loadsRunning int                       // under way
	completed    int                       // of loads and unloads, but those that found a conflict
	stopped      chan struct{}             // closed when Watch returns
}

// changeResult is the end of a load or an unload.
type changeResult struct {
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
	fsWatcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, errors.NewError(errors.ResourceExhausted, err)
	}
	w := &watcher{
		host: h, root: root, fsWatcher: fsWatcher, folders: map[string]*watchedFolder{}, results: make(chan changeResult),
		stopped: make(chan struct{}),
	}
	w.scanDir()
	for _, f := range w.folders { // they may have been there for long
		f.changedAt = f.changedAt.Add(-h.options.debounce)
	}
	return w, nil
}

// close waits for the loads that are under way, which end with the context of Watch. The host waits for unloads.
func (w *watcher) close() {
	for w.loadsRunning > 0 {
		w.onResult(<-w.results)
	}
	close(w.stopped)
	if err := w.fsWatcher.Close(); err != nil {
		w.host.options.logger.Warn("dynpsrpc: the watch of plugins did not end well", slog.Any("error", err))
	}
}

func (w *watcher) run(ctx context.Context) {
	poll := time.NewTicker(w.host.options.pollInterval)
	defer poll.Stop()
	debounceTimer := time.NewTimer(0)
	defer debounceTimer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-w.fsWatcher.Events:
			w.onFSEvent(event.Name)
		case err := <-w.fsWatcher.Errors: // events were lost
			w.host.options.logger.Debug("dynpsrpc: plugins are looked at anew", slog.Any("error", err))
			w.scanDir()
		case <-poll.C:
			w.scanDir()
		case c := <-w.results:
			w.onResult(c)
		case <-debounceTimer.C:
		}
		if next := w.debounce(ctx); next > 0 {
			debounceTimer.Reset(next)
		}
	}
}

// onFSEvent finds the folder that a path is in.
func (w *watcher) onFSEvent(path string) {
	relative, err := filepath.Rel(w.root, path)
	if err != nil || relative == "." {
		w.scanDir()
		return
	}
	name, _, _ := strings.Cut(relative, string(filepath.Separator))
	w.folder(filepath.Join(w.root, name)).markChanged(w.fsWatcher)
}

// scanDir finds changes of which nothing was told.
func (w *watcher) scanDir() {
	_ = w.fsWatcher.Add(w.root) // it may be another folder of that name; if it is missing, the next look adds it
	entries, err := os.ReadDir(w.root)
	if err != nil && !os.IsNotExist(err) {
		w.host.options.logger.Warn("dynpsrpc: plugins cannot be looked at", slog.String("root", w.root), slog.Any("error", err))
		return
	}
	for _, entry := range entries {
		w.folder(filepath.Join(w.root, entry.Name()))
	}
	for _, f := range w.folders {
		f.refresh(w.fsWatcher)
	}
}

// folder returns what is known of a folder, which may be new.
func (w *watcher) folder(path string) *watchedFolder {
	f := w.folders[path]
	if f == nil {
		f = &watchedFolder{path: path}
		f.markChanged(w.fsWatcher)
		w.folders[path] = f
	}
	return f
}

// debounce acts on folders that have been left alone, and returns how long it is until others may have been; 0 if there
// are none.
func (w *watcher) debounce(ctx context.Context) (next time.Duration) {
	changed, removed, next := w.ready()
	for _, f := range changed {
		f.busy, f.loadingPlugin = true, readName(f.path)
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

// ready returns the folders that have been left alone since they have changed, and how long it is until others may have
// been.
func (w *watcher) ready() (changed, removed []*watchedFolder, next time.Duration) {
	interval := w.host.options.debounce
	for _, f := range w.folders {
		if f.changedAt.IsZero() || f.busy {
			continue
		}
		remaining := interval - time.Since(f.changedAt)
		if remaining <= 0 && f.refresh(w.fsWatcher) { // nothing has told of it
			remaining = interval
		}
		switch {
		case remaining > 0 && (next == 0 || remaining < next):
			next = remaining
		case remaining > 0:
		case f.fingerprint == noManifest:
			removed = append(removed, f)
		default:
			changed = append(changed, f)
		}
	}
	return changed, removed, next
}

func (w *watcher) load(ctx context.Context, f *watchedFolder) {
	f.changedAt, f.completedAtStart = time.Time{}, w.completed
	w.loadsRunning++
	go func() { // close waits for it
		name, err := w.host.load(ctx, f.path)
		w.results <- changeResult{folder: f, load: true, plugin: name, err: err}
	}()
}

// unload reports whether that must wait: a plugin whose folder got another name is served on from there.
func (w *watcher) unload(f *watchedFolder) (wait bool) {
	name := w.host.pluginInFolder(f.path, "")
	if name == "" {
		w.host.markReadable(f.path)
		delete(w.folders, f.path)
		return false
	}
	return !w.startUnload(f, name)
}

// startUnload reports false, and does nothing, if the plugin is being loaded from another folder.
func (w *watcher) startUnload(f *watchedFolder, name string) bool {
	for _, other := range w.folders {
		if other.busy && other.loadingPlugin == name {
			return false
		}
	}
	f.changedAt, f.busy = time.Time{}, true
	w.host.markUnloading(name)
	w.host.drains.Go(func() { // Shutdown waits for it
		ctx, leave, err := w.host.enter(context.Background(), w.host.drainCtx)
		if err != nil {
			return
		}
		defer leave()
		err = w.host.unload(ctx, name, f.path)
		select {
		case w.results <- changeResult{folder: f, err: err}:
		case <-w.stopped:
		}
	})
	return true
}

// onResult notes the end of a change. What has failed is tried again when there is one plugin less that could be in the way,
// and a conflict also when another plugin has been loaded, or could not be: it may have given up the service.
func (w *watcher) onResult(c changeResult) {
	c.folder.busy = false
	if c.load {
		w.loadsRunning--
		c.folder.loadErr = c.err
	} else if c.err != nil {
		w.host.options.logger.Warn("dynpsrpc: " + c.err.Error())
	}
	if isConflict(c.err) {
		if c.folder.completedAtStart != w.completed { // what was in the way may be gone already
			c.folder.markChanged(w.fsWatcher)
		}
		return
	}
	w.completed++
	if !c.load || c.err == nil {
		w.unloadOthers(c)
	}
	for _, f := range w.folders {
		if f.loadErr != nil && (!c.load || isConflict(f.loadErr)) {
			f.markChanged(w.fsWatcher)
		}
	}
}

// unloadOthers unloads what else is served from the folder of a change: its plugin may have had another name before.
func (w *watcher) unloadOthers(c changeResult) {
	if !c.folder.changedAt.IsZero() || !c.load && c.folder.fingerprint != noManifest {
		return // it is looked at again
	}
	if other := w.host.pluginInFolder(c.folder.path, c.plugin); other != "" {
		w.startUnload(c.folder, other)
	}
}

// isConflict reports whether a load has failed because another plugin has one of the services.
func isConflict(err error) bool { return err != nil && errorCode(err) == errors.AlreadyExists }

// pluginInFolder returns the name of a plugin that is in a folder and is not the wanted one, or an empty one.
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

func (h *Host) markUnloading(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.plugins[name]; p != nil {
		p.markDrainingLocked()
	}
}
