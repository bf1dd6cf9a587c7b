package plugin

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// noManifest is the fingerprint of a folder without a manifest.
	noManifest = ""
	// maxEntries is the maximum number of files and folders that a scan visits in a plugin's
	// folder.
	maxEntries = 10_000
)

// watchedFolder is a folder, or another entry, of the watched directory.
type watchedFolder struct {
	path string
	// fingerprint describes the folder's files when they last changed.
	fingerprint string
	// changedAt is the time of the last change. It is zero after the change was acted on.
	changedAt time.Time
	// busy is true while the folder's plugin is being loaded or unloaded.
	busy bool
	// loadErr is the error of the last load.
	loadErr error
	// completedAtStart is watcher.completed at the start of the last load.
	completedAtStart int
	// loadingPlugin is the name in the manifest that is being loaded.
	loadingPlugin string
}

// markChanged records a change that the operating system has reported. The fingerprint may not show
// it.
func (f *watchedFolder) markChanged(fsWatcher *fsnotify.Watcher) {
	f.refresh(fsWatcher)
	f.changedAt = time.Now()
}

// refresh records a change if the fingerprint differs. It also watches all folders below again,
// because a watch ends when its folder is renamed.
func (f *watchedFolder) refresh(fsWatcher *fsnotify.Watcher) (changed bool) {
	fingerprint := f.computeFingerprint(func(folder string) {
		_ = fsWatcher.Add(folder) // if this fails, polling still finds changes
	})
	if fingerprint == f.fingerprint {
		return false
	}
	f.fingerprint, f.changedAt = fingerprint, time.Now()
	return true
}

// computeFingerprint returns a text that differs after a file was added, removed or written. It
// calls visit for the folder itself and all folders in it.
func (f *watchedFolder) computeFingerprint(visit func(folder string)) (fingerprint string) {
	var all strings.Builder
	tree := os.DirFS(f.path)
	hasManifest, entries := false, 0
	_ = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, walkErr error) error {
		if entries++; entries > maxEntries {
			return fs.SkipAll
		}
		switch {
		case walkErr != nil:
		case entry.IsDir():
			visit(filepath.Join(f.path, name))
		default:
			hasManifest = hasManifest || name == ManifestName
			if info, err := fs.Stat(tree, name); err == nil {
				fmt.Fprintf(&all, "%q %d %d %s\n", name, info.Size(), info.ModTime().UnixNano(), info.Mode())
			}
		}
		return nil //nolint:nilerr // files that were removed meanwhile are not in the fingerprint
	})
	if !hasManifest {
		return noManifest
	}
	return all.String()
}
