package watch

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
	// noManifest is the fingerprint of a folder that has no manifest.
	noManifest = ""
	// maxEntries is the maximum number of files and folders that one scan of a plugin's folder
	// takes into account.
	maxEntries = 10_000
)

// folder is the state of an entry of the watched directory. Most entries are folders of plugins,
// but an entry may also be a file.
type folder struct {
	path string
	// manifest is the name of the manifest file. A folder without this file contains no plugin.
	manifest string
	// place is where path led when the fingerprint was computed.
	place place
	// watched contains the paths of the folders in which a change may affect this folder. The paths
	// contain no symbolic links.
	watched []string
	// fingerprint describes the files of the folder. It was computed at the last change that was
	// detected.
	fingerprint string
	// changedAt is the time of the last change. It is zero if the folder has not changed since the
	// last load or unload was started.
	changedAt time.Time
	// busy reports whether the folder's plugin is being loaded or unloaded.
	busy bool
	// loadErr is the error of the last load, or nil if the load succeeded. It determines whether
	// the folder is loaded again after another load or unload has finished.
	loadErr error
	// completedAtStart is the value that Watcher.completed had when the last load started. If that
	// load fails with a conflict (see isConflict) and Watcher.completed has changed since then, the
	// folder is loaded again.
	completedAtStart int
	// loadingPlugin is the name that the manifest had when the last load of this folder started.
	// While that load is running, startUnload uses the name to recognize a plugin that has moved to
	// this folder.
	loadingPlugin string
}

// markChanged marks the folder as changed even if its fingerprint is the same, for example because
// the operating system has reported a change.
func (f *folder) markChanged(fsWatcher *fsnotify.Watcher) {
	f.refresh(fsWatcher)
	f.changedAt = time.Now()
}

// refresh computes the fingerprint again. If the fingerprint has changed, refresh records the
// change and returns true. It also watches the folder and its subfolders again, because a watch
// ends when its folder is renamed.
func (f *folder) refresh(fsWatcher *fsnotify.Watcher) (changed bool) {
	fingerprint := f.computeFingerprint()
	for _, folder := range f.watched {
		_ = fsWatcher.Add(folder) // if this fails, polling finds the changes
	}
	if fingerprint == f.fingerprint {
		return false
	}
	f.fingerprint, f.changedAt = fingerprint, time.Now()
	return true
}

// computeFingerprint returns a string that changes when a file is added, removed, written or
// replaced. It also changes when a link is changed to lead to another folder. Without a manifest,
// it returns noManifest. It also sets f.place and f.watched.
func (f *folder) computeFingerprint() (fingerprint string) {
	f.place = resolve(f.path)
	f.watched = f.place.linkFolders()
	var all strings.Builder
	fmt.Fprintf(&all, "%q\n", f.place.real)
	tree := os.DirFS(f.place.real)
	entries := 0
	_ = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, walkErr error) error {
		if entries++; entries > maxEntries {
			return fs.SkipAll
		}
		switch {
		case walkErr != nil:
		case entry.IsDir():
			f.watched = append(f.watched, filepath.Join(f.place.real, name))
		default:
			if info, err := fs.Stat(tree, name); err == nil {
				fmt.Fprintf(&all, "%q %d %d %s %s\n", name, info.Size(), info.ModTime().UnixNano(), info.Mode(), fileIdentity(info))
			}
		}
		return nil //nolint:nilerr // a file that was removed during the scan is not part of the fingerprint
	})
	if _, err := os.Lstat(filepath.Join(f.place.real, f.manifest)); err != nil {
		return noManifest
	}
	return all.String()
}
