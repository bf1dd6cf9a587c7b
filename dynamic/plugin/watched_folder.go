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
	// absent is the stamp of a folder without a manifest.
	absent = ""
	// maxEntries bounds what is looked at of a folder.
	maxEntries = 10_000
)

// watchedFolder is what may be a plugin's folder.
type watchedFolder struct {
	path    string
	stamp   string    // what it looked like when it was touched
	touched time.Time // when it last changed; zero if that was acted on
	busy    bool      // it is being loaded or unloaded
	failure error     // that of the last load
	begun   int       // what the watcher's ends were when the last load began
	plugin  string    // what the manifest that is being loaded calls its plugin
}

// touch notes a change of which the system has told, which the stamp may not show.
func (f *watchedFolder) touch(system *fsnotify.Watcher) {
	f.look(system)
	f.touched = time.Now()
}

// look notes a change if there is one. It asks to be told of the next one, again each time: the system forgets a folder
// that gets another name.
func (f *watchedFolder) look(system *fsnotify.Watcher) (changed bool) {
	stamp := f.scan(func(folder string) {
		_ = system.Add(folder) // if it fails, it is looked at now and then
	})
	if stamp == f.stamp {
		return false
	}
	f.stamp, f.touched = stamp, time.Now()
	return true
}

// scan returns a stamp: another one if a file was added, removed or written since. It visits all folders.
func (f *watchedFolder) scan(visit func(folder string)) (stamp string) {
	var all strings.Builder
	tree := os.DirFS(f.path)
	manifest, entries := false, 0
	_ = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, gone error) error {
		if entries++; entries > maxEntries {
			return fs.SkipAll
		}
		switch {
		case gone != nil:
		case entry.IsDir():
			visit(filepath.Join(f.path, name))
		default:
			manifest = manifest || name == ManifestName
			if info, err := fs.Stat(tree, name); err == nil {
				fmt.Fprintf(&all, "%q %d %d %s\n", name, info.Size(), info.ModTime().UnixNano(), info.Mode())
			}
		}
		return nil //nolint:nilerr // what is gone is not in the stamp
	})
	if !manifest {
		return absent
	}
	return all.String()
}
