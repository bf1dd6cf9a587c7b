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
	// noManifest is the stamp of a folder without a manifest.
	noManifest = ""
	// maxEntries bounds what is looked at of a folder.
	maxEntries = 10_000
)

// watchedFolder is what may be a plugin's folder.
type watchedFolder struct {
	path             string
	fingerprint      string    // what it looked like when it was touched
	changedAt        time.Time // when it last changed; zero if that was acted on
	busy             bool      // it is being loaded or unloaded
	loadErr          error     // that of the last load
	completedAtStart int       // what the watcher's ends were when the last load began
	loadingPlugin    string    // what the manifest that is being loaded calls its plugin
}

// markChanged notes a change of which the system has told, which the stamp may not show.
func (f *watchedFolder) markChanged(fsWatcher *fsnotify.Watcher) {
	f.refresh(fsWatcher)
	f.changedAt = time.Now()
}

// refresh notes a change if there is one. It asks to be told of the next one, again each time: the system forgets a folder
// that gets another name.
func (f *watchedFolder) refresh(fsWatcher *fsnotify.Watcher) (changed bool) {
	fingerprint := f.computeFingerprint(func(folder string) {
		_ = fsWatcher.Add(folder) // if it fails, it is looked at now and then
	})
	if fingerprint == f.fingerprint {
		return false
	}
	f.fingerprint, f.changedAt = fingerprint, time.Now()
	return true
}

// computeFingerprint returns a stamp: another one if a file was added, removed or written since. It visits all folders.
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
		return nil //nolint:nilerr // what is gone is not in the stamp
	})
	if !hasManifest {
		return noManifest
	}
	return all.String()
}
