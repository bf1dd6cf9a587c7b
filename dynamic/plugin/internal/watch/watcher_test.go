package watch

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const manifestName = "plugin.json"

// testHost is a host whose plugins have the names of their folders.
type testHost struct {
	// calls receives the calls to Load, Unload and Forget, as text.
	calls     chan string
	unloading sync.WaitGroup

	mu sync.Mutex
	// errs contains the errors of Load, keyed by name.
	errs   map[string]error
	loaded map[string]bool
}

func (h *testHost) Load(_ context.Context, folder string) (name string, err error) {
	name = filepath.Base(folder)
	h.mu.Lock()
	err = h.errs[name]
	if err == nil {
		h.loaded[name] = true
	}
	h.mu.Unlock()
	h.calls <- "load " + name
	return name, err
}

func (h *testHost) Unload(name, _ string, done func(err error)) {
	h.unloading.Go(func() { // run waits for this goroutine
		h.mu.Lock()
		delete(h.loaded, name)
		h.mu.Unlock()
		h.calls <- "unload " + name
		done(nil)
	})
}

func (h *testHost) Loaded(folder, ignored string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if name := filepath.Base(folder); h.loaded[name] && name != ignored {
		return name
	}
	return ""
}

func (h *testHost) Forget(folder string) { h.calls <- "forget " + filepath.Base(folder) }

func (h *testHost) ReadName(folder string) string { return filepath.Base(folder) }

// setErr sets the error of Load for the plugin with the given name.
func (h *testHost) setErr(name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs[name] = err
}

func newTestWatcher(t *testing.T, h *testHost, root string) *Watcher {
	t.Helper()
	w, err := New(Config{
		Host: h, Root: root, Manifest: manifestName, Debounce: 10 * time.Millisecond, PollInterval: 50 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return w
}

// run watches root until the test ends.
func run(t *testing.T, root string) *testHost {
	t.Helper()
	h := &testHost{calls: make(chan string, 10_000), errs: map[string]error{}, loaded: map[string]bool{}}
	w := newTestWatcher(t, h, root)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { // the cleanup waits for this goroutine
		defer w.Close()
		w.Run(ctx)
	})
	t.Cleanup(func() { cancel(); running.Wait(); h.unloading.Wait() })
	return h
}

// await waits until the watcher makes the given call to the host, and ignores all calls before it.
func (h *testHost) await(t *testing.T, call string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case got := <-h.calls:
			if got == call {
				return
			}
		case <-deadline:
			t.Fatalf("the watcher did not call: %s", call)
		}
	}
}

func TestWatcher_FollowsFolders(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	writeRelease(t, filepath.Join(root, "first"), "1")
	h := run(t, root)
	h.await(t, "load first")
	writeRelease(t, filepath.Join(root, "second"), "1")
	h.await(t, "load second")
	require.NoError(t, os.WriteFile(filepath.Join(root, "first", "code"), []byte("changed"), 0o600))
	h.await(t, "load first")
	require.NoError(t, os.Remove(filepath.Join(root, "first", manifestName)))
	h.await(t, "unload first")
	require.NoError(t, os.RemoveAll(filepath.Join(root, "second")))
	h.await(t, "unload second")
}

// A folder without a manifest contains no plugin.
func TestWatcher_IgnoresOtherFolders(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "other", "inner"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(root, "file"), nil, 0o600))
	writeRelease(t, filepath.Join(root, "plugin"), "1")
	h := run(t, root)
	for range 3 {
		call := <-h.calls
		assert.Contains(t, []string{"load plugin", "forget other", "forget file"}, call)
	}
}

// A failed load is retried after the next change to the folder. If the load failed with a conflict,
// it is also retried after another load.
func TestWatcher_Retries(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err    error
		change string
	}{
		"broken":   {errors.NewErrorf(errors.InvalidArgument, "broken"), "plugin"},
		"conflict": {errors.NewErrorf(errors.AlreadyExists, "conflict"), "another"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			h := run(t, root)
			h.setErr("plugin", tt.err)
			writeRelease(t, filepath.Join(root, "plugin"), "1")
			h.await(t, "load plugin")
			h.setErr("plugin", nil)
			writeRelease(t, filepath.Join(root, tt.change), "22")
			h.await(t, "load plugin")
			require.Eventually(t, func() bool { return h.Loaded("plugin", "") == "plugin" }, 30*time.Second, time.Millisecond)
		})
	}
}

func TestNew_NeedsADirectory(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Root: filepath.Join(t.TempDir(), "missing")})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// The watcher must remove its watches on folders that are no longer linked, because the operating
// system limits the number of watches.
func TestWatcher_RemovesWatchesOnOldReleases(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	writeRelease(t, filepath.Join(root, "releases", "0"), "0")
	link := filepath.Join(root, "plugins", "greeter")
	require.NoError(t, os.Mkdir(filepath.Dir(link), 0o700))
	require.NoError(t, os.Symlink("../releases/0", link))
	w := newTestWatcher(t, &testHost{}, filepath.Dir(link))
	defer w.Close()
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
