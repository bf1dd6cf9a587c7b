package watch

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Host loads and unloads the plugins of the folders that are watched.
type Host interface {
	// Load loads the plugin in a folder and returns its name. If a service of the plugin is served
	// by another plugin, the error has the code already_exists.
	Load(ctx context.Context, folder string) (name string, err error)
	// Unload starts to unload a plugin and returns without waiting. The plugin is not unloaded if
	// it has been loaded from another folder in the meantime. When the unload has finished, the
	// host calls done, which may block until the watcher is closed. When the host is closed, it
	// waits for running unloads.
	Unload(name, folder string, done func(err error))
	// Loaded returns the name of a plugin that was loaded from a folder, or an empty string if
	// there is none. It leaves out the plugin whose name is the argument ignored.
	Loaded(folder, ignored string) string
	// Forget deletes the error of a folder that has disappeared.
	Forget(folder string)
	// ReadName returns the name of the plugin in a folder, or an empty string if the manifest
	// cannot be read.
	ReadName(folder string) string
}

// Config configures a [Watcher].
type Config struct {
	Host Host
	// Root is the directory whose subfolders contain plugins.
	Root string
	// Manifest is the name of the file that a folder with a plugin contains.
	Manifest string
	// Debounce is how long a folder must have been unchanged before it is loaded. PollInterval is
	// the time between two scans of all folders.
	Debounce, PollInterval time.Duration
	Logger                 *slog.Logger
}

// Watcher watches one directory of plugins. Its methods must be called one after the other: Run,
// and then Close.
type Watcher struct {
	config Config
	// root is Config.Root as an absolute path.
	root string
	// rootPlace is where root led at the last scan.
	rootPlace place
	fsWatcher *fsnotify.Watcher
	// folders contains the watched folders, keyed by path.
	folders map[string]*folder
	// results carries the results of loads and unloads to the goroutine that calls Run.
	results chan changeResult
	// loadsRunning is the number of loads whose results have not been received yet.
	loadsRunning int
	// completed is the number of loads and unloads that have finished. It does not include loads
	// that failed because of a conflict (see isConflict). It is compared with the field
	// completedAtStart of folder.
	completed int
	// stopped is closed when Close no longer waits for results.
	stopped chan struct{}
}

// changeResult is the result of a load or an unload.
type changeResult struct {
	folder *folder
	load   bool
	// plugin is the name of the plugin that was loaded. It is empty after a failed load and after
	// an unload.
	plugin string
	err    error
}

// New scans a directory and returns a watcher for it. It returns an error if the directory cannot
// be read or if no file system watcher can be created. [Watcher.Run] loads the existing folders at
// once, without waiting for the debounce interval. The caller must call [Watcher.Close].
func New(config Config) (*Watcher, error) {
	root, err := filepath.Abs(config.Root)
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
	w := &Watcher{
		config: config, root: root, fsWatcher: fsWatcher, folders: map[string]*folder{}, results: make(chan changeResult),
		stopped: make(chan struct{}),
	}
	w.scanDir()
	for _, f := range w.folders {
		f.changedAt = f.changedAt.Add(-config.Debounce)
	}
	return w, nil
}

// Run handles events and results until ctx ends. When ctx ends, running loads are canceled.
func (w *Watcher) Run(ctx context.Context) {
	poll := time.NewTicker(w.config.PollInterval)
	defer poll.Stop()
	debounceTimer := time.NewTimer(0)
	defer debounceTimer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-w.fsWatcher.Events:
			w.onFSEvent(event.Name)
		case err := <-w.fsWatcher.Errors: // some events may have been lost
			w.config.Logger.Debug("dynpsrpc: file system events were lost, scanning plugins again", slog.Any("error", err))
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

// Close waits for running loads and releases the file system watcher. The context of Run must have
// ended. Close does not wait for running unloads, because the host does so.
func (w *Watcher) Close() {
	for w.loadsRunning > 0 {
		w.onResult(<-w.results)
	}
	close(w.stopped)
	if err := w.fsWatcher.Close(); err != nil {
		w.config.Logger.Warn("dynpsrpc: cannot close the watcher of the plugin directory", slog.Any("error", err))
	}
}

// onFSEvent handles a file system event for path. It marks as changed each plugin folder that
// contains path or is reached through a link at path. There may be several such folders, because
// several links may lead to the same place.
func (w *Watcher) onFSEvent(path string) {
	if path == w.rootPlace.real || w.rootPlace.dependsOn(path) {
		w.scanDir()
		return
	}
	for _, f := range w.folders {
		if f.place.contains(path) || f.place.dependsOn(path) {
			f.markChanged(w.fsWatcher)
		}
	}
	if filepath.Dir(path) == w.rootPlace.real {
		w.addFolder(filepath.Join(w.root, filepath.Base(path)))
	}
}

// scanDir adds new folders to the watched folders, and marks as changed those whose fingerprint
// differs from the last one. It thus finds changes that no event has reported. It also watches root
// again, because root may have been replaced, and removes the watches that are no longer needed.
func (w *Watcher) scanDir() {
	w.rootPlace = resolve(w.root)
	defer w.removeOldWatches()
	for _, folder := range append(w.rootPlace.linkFolders(), w.rootPlace.real) {
		_ = w.fsWatcher.Add(folder) // if this fails, polling finds the changes
	}
	entries, err := os.ReadDir(w.root)
	if err != nil && !os.IsNotExist(err) {
		w.config.Logger.Warn("dynpsrpc: cannot read the directory of plugins",
			slog.String("root", w.root), slog.Any("error", err))
		return
	}
	for _, entry := range entries {
		w.addFolder(filepath.Join(w.root, entry.Name()))
	}
	for _, f := range w.folders {
		f.refresh(w.fsWatcher)
	}
}

// removeOldWatches removes the watches on folders that no longer matter to any plugin. An example
// is a folder to which a link no longer points.
func (w *Watcher) removeOldWatches() {
	needed := map[string]bool{w.rootPlace.real: true}
	for _, folder := range w.rootPlace.linkFolders() {
		needed[folder] = true
	}
	for _, f := range w.folders {
		for _, folder := range f.watched {
			needed[folder] = true
		}
	}
	for _, folder := range w.fsWatcher.WatchList() {
		if !needed[folder] {
			_ = w.fsWatcher.Remove(folder) // this fails if the folder has been removed
		}
	}
}

// addFolder adds a folder to the watched folders and marks it as changed. If the folder is already
// watched, addFolder does nothing.
func (w *Watcher) addFolder(path string) {
	if w.folders[path] != nil {
		return
	}
	f := &folder{path: path, manifest: w.config.Manifest}
	f.markChanged(w.fsWatcher)
	w.folders[path] = f
}

// debounce loads or unloads each changed folder whose last change is at least one debounce interval
// ago. It returns the time after which debounce must be called again, or 0 if no folder is waiting.
func (w *Watcher) debounce(ctx context.Context) (next time.Duration) {
	changed, removed, next := w.ready()
	// The method unload reads the fields busy and loadingPlugin to find out whether a plugin has
	// moved to another folder. They must therefore be set before unload is called.
	for _, f := range changed {
		f.busy, f.loadingPlugin = true, w.config.Host.ReadName(f.path)
	}
	for _, f := range removed {
		if w.unload(f) && (next == 0 || next > w.config.Debounce) {
			next = w.config.Debounce
		}
	}
	for _, f := range changed {
		w.load(ctx, f)
	}
	return next
}

// ready returns the folders whose last change is at least one debounce interval ago and has not
// been handled yet. The slice changed contains those with a manifest, and removed contains those
// without one. ready checks these folders once more, in case no event has reported the latest
// change. next is the time until the next folder may be ready, or 0 if no folder is waiting.
func (w *Watcher) ready() (changed, removed []*folder, next time.Duration) {
	interval := w.config.Debounce
	for _, f := range w.folders {
		if f.changedAt.IsZero() || f.busy {
			continue
		}
		remaining := interval - time.Since(f.changedAt)
		if remaining <= 0 && f.refresh(w.fsWatcher) { // no event reported the latest change
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

// load loads a folder on a new goroutine.
func (w *Watcher) load(ctx context.Context, f *folder) {
	f.changedAt, f.completedAtStart = time.Time{}, w.completed
	w.loadsRunning++
	go func() { // Close waits for this goroutine
		name, err := w.config.Host.Load(ctx, f.path)
		w.results <- changeResult{folder: f, load: true, plugin: name, err: err}
	}()
}

// unload handles a folder that no longer has a manifest. It starts to unload the plugin that was
// loaded from the folder. If there is none, it removes the folder from the watched folders. If the
// same plugin is being loaded from another folder, the folder was renamed, and the plugin keeps
// serving. In that case unload returns true, and the caller must call it again later.
func (w *Watcher) unload(f *folder) (wait bool) {
	name := w.config.Host.Loaded(f.path, "")
	if name == "" {
		w.config.Host.Forget(f.path)
		delete(w.folders, f.path)
		return false
	}
	return !w.startUnload(f, name)
}

// startUnload starts to unload a plugin. If the plugin is being loaded from another
// folder, startUnload does nothing and returns false.
func (w *Watcher) startUnload(f *folder, name string) bool {
	for _, other := range w.folders {
		if other.busy && other.loadingPlugin == name {
			return false
		}
	}
	f.changedAt, f.busy = time.Time{}, true
	w.config.Host.Unload(name, f.path, func(err error) {
		select {
		case w.results <- changeResult{folder: f, err: err}:
		case <-w.stopped:
		}
	})
	return true
}

// onResult handles the result of a load or an unload. It decides which folders are loaded again
// because their last load failed.
func (w *Watcher) onResult(c changeResult) {
	c.folder.busy = false
	if c.load {
		w.loadsRunning--
		c.folder.loadErr = c.err
	} else if c.err != nil {
		w.config.Logger.Warn("dynpsrpc: " + c.err.Error())
	}
	// A load that fails with a conflict causes no retries of other folders, because two conflicting
	// folders would otherwise cause retries of each other forever. The folder itself is retried if
	// another load or unload has finished since the load started, because the other plugin may be
	// gone.
	if isConflict(c.err) {
		if c.folder.completedAtStart != w.completed {
			c.folder.markChanged(w.fsWatcher)
		}
		return
	}
	w.completed++
	if !c.load || c.err == nil {
		w.unloadOthers(c)
	}
	// After an unload, retry all folders whose last load failed. After a load, retry only those
	// with a conflict (see isConflict). Even a failed load may have released the service that they
	// need.
	for _, f := range w.folders {
		if f.loadErr != nil && (!c.load || isConflict(f.loadErr)) {
			f.markChanged(w.fsWatcher)
		}
	}
}

// unloadOthers unloads a plugin other than c.plugin that is still served from the folder of c.
// There is such a plugin if the name in the folder's manifest has changed.
func (w *Watcher) unloadOthers(c changeResult) {
	if !c.folder.changedAt.IsZero() || !c.load && c.folder.fingerprint != noManifest {
		return // the folder has changed again, so it will be handled later
	}
	if other := w.config.Host.Loaded(c.folder.path, c.plugin); other != "" {
		w.startUnload(c.folder, other)
	}
}

// isConflict reports whether a load failed because another plugin serves one of its services.
func isConflict(err error) bool {
	coded, ok := errors.AsType[errors.Error](err)
	return ok && coded.Code() == errors.AlreadyExists
}
