package plugin

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func writeRelease(t *testing.T, folder, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(folder, 0o700))
	for _, name := range []string{ManifestName, "code"} {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		require.NoError(t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
	}
}

func TestWatchedFolder_FilesOfEqualSizeAndTime(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has the time of the last change of a file's attributes")
	}
	root := t.TempDir()
	f := &watchedFolder{path: filepath.Join(root, "greeter")}
	code := filepath.Join(f.path, "code")
	seen := map[string]string{}
	see := func(change string) {
		t.Helper()
		fingerprint := f.computeFingerprint()
		assert.Equal(t, fingerprint, f.computeFingerprint(), "nothing has changed")
		assert.NotContains(t, seen, fingerprint, change)
		seen[fingerprint] = change
	}
	see("nothing there")
	writeRelease(t, f.path, "1")
	see("written first")
	writeRelease(t, f.path, "2")
	see("written in place")
	writeRelease(t, filepath.Join(root, "next"), "3")
	require.NoError(t, os.Rename(filepath.Join(root, "next", "code"), code))
	see("file renamed over it")
	require.NoError(t, os.Rename(f.path, filepath.Join(root, "old")))
	writeRelease(t, f.path, "4")
	see("folder replaced")
	require.NoError(t, os.RemoveAll(f.path))
	require.NoError(t, os.Symlink("old", f.path))
	see("folder is a link")
	require.NoError(t, os.Rename(code, filepath.Join(root, "old", "code.1")))
	require.NoError(t, os.Symlink("code.1", code))
	see("code is a link")
}

// The watcher must remove its watches on folders that are no longer linked, because the operating
// system limits the number of watches.
func TestWatcher_RemovesWatchesOnOldReleases(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	host := &Host{options: newHostOptions(nil, nil)}
	writeRelease(t, filepath.Join(root, "releases", "0"), "0")
	link := filepath.Join(root, "plugins", "greeter")
	require.NoError(t, os.Mkdir(filepath.Dir(link), 0o700))
	require.NoError(t, os.Symlink("../releases/0", link))
	w, err := newWatcher(host, filepath.Dir(link))
	require.NoError(t, err)
	defer w.close()
	want := func(release string) []string {
		return []string{filepath.Dir(link), filepath.Join(root, "releases", release)}
	}
	assert.ElementsMatch(t, want("0"), w.fsWatcher.WatchList())
	for i := 1; i <= 20; i++ {
		release := strconv.Itoa(i)
		writeRelease(t, filepath.Join(root, "releases", release), release)
		require.NoError(t, os.Remove(link))
		require.NoError(t, os.Symlink("../releases/"+release, link))
		w.scanDir()
		assert.ElementsMatch(t, want(release), w.fsWatcher.WatchList())
	}
	require.NoError(t, os.RemoveAll(filepath.Join(root, "plugins")))
	w.scanDir()
	assert.Contains(t, w.fsWatcher.WatchList(), root, "the folder of plugins may be created again")
}

func TestResolve(t *testing.T) {
	t.Parallel()
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	in := func(name string) string { return filepath.Join(root, filepath.FromSlash(name)) }
	require.NoError(t, os.MkdirAll(in("a/b/c"), 0o700))
	for name, target := range map[string]string{
		"relative": "a/b", "absolute": in("a"), "chain": "absolute/b", "up": "a/b/../b/c", "a/back": "../relative/c",
		"loop": "loop", "one": "two", "two": "one", "dangling": "a/later/x", "through-file": "file/x",
	} {
		require.NoError(t, os.Symlink(target, in(name)))
	}
	require.NoError(t, os.WriteFile(in("file"), nil, 0o600))
	for name, want := range map[string]struct {
		real  string
		links []string
	}{
		"a/b/c":        {"a/b/c", nil},
		"relative/c":   {"a/b/c", []string{"relative"}},
		"absolute/b":   {"a/b", []string{"absolute"}},
		"chain/c":      {"a/b/c", []string{"chain", "absolute"}},
		"up":           {"a/b/c", []string{"up"}},
		"a/back":       {"a/b/c", []string{"a/back", "relative"}},
		"dangling":     {"a/later", []string{"dangling", "a/later"}},
		"missing/x":    {"missing", []string{"missing"}},
		"through-file": {"file/x", []string{"through-file", "file/x"}},
	} {
		got := resolve(in(name))
		assert.Equal(t, in(want.real), got.real, name)
		var links []string
		for _, link := range want.links {
			links = append(links, in(link))
		}
		assert.Equal(t, links, got.links, name)
	}
	for _, name := range []string{"loop", "one", "two/x"} {
		got := resolve(in(name))
		assert.Len(t, got.links, maxLinks, name)
		assert.Contains(t, []string{in("loop"), in("one"), in("two")}, got.real)
	}
}
