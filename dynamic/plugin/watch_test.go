package plugin_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
)

// watch begins to watch the plugins, and ends with the test.
func (w *world) watch() (root string) {
	w.Helper()
	root = filepath.Join(w.root, "plugins")
	require.NoError(w, os.MkdirAll(root, 0o700))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.host.Watch(ctx, root) }()
	w.Cleanup(func() {
		stop()
		require.NoError(w, <-ended)
	})
	return root
}

func named(name string) func(*plugin.Manifest) {
	return func(m *plugin.Manifest) { m.Name = name }
}

func TestWatch_FollowsFolders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plugin("plugins/first", "v 1")
	w.write("plugins/no-plugin/readme.txt", "nothing here")
	w.write("plugins/file", "nothing either")
	root := w.watch()
	w.event(plugin.Loaded, "first")
	w.requireVersion(hello, "v 1")

	w.plugin("plugins/second", "v 2", services(parting))
	w.event(plugin.Loaded, "second")
	w.requireVersion(bye, "v 2")

	w.plugin("plugins/first", "v 3")
	w.event(plugin.Replaced, "first")
	w.requireVersion(hello, "v 3")

	require.NoError(t, os.RemoveAll(filepath.Join(root, "second")))
	w.event(plugin.Unloaded, "second")

	require.NoError(t, os.Remove(filepath.Join(root, "first", plugin.ManifestName)))
	w.event(plugin.Unloaded, "first")
	w.plugin("plugins/no-plugin", "v 4")
	w.event(plugin.Loaded, "no-plugin")
	assert.Len(t, w.host.List(), 1)
}

func TestWatch_AChangeMendsAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plugin("plugins/other", "v 1", services(parting))
	root := w.watch()
	w.event(plugin.Loaded, "other")
	w.plugin("plugins/greeter", "v 1", func(m *plugin.Manifest) { m.SHA256 = "00" })
	failed := w.event(plugin.Failed, "")
	assert.Equal(t, filepath.Join(root, "greeter"), failed.Folder)
	require.ErrorContains(t, failed.Err, "field sha256")
	assert.Len(t, w.host.List(), 2)

	w.plugin("plugins/greeter", "broken")
	w.event(plugin.Failed, "greeter")
	w.plugin("plugins/greeter", "v 2")
	w.event(plugin.Loaded, "greeter")
	w.requireVersion(hello, "v 2")
	w.requireVersion(bye, "v 1")

	w.write("plugins/greeter/"+plugin.ManifestName, `{"loader": "te`)
	failed = w.event(plugin.Failed, "greeter")
	require.ErrorContains(t, failed.Err, "it is not complete")
	w.requireVersion(hello, "v 2")
	require.NoError(t, os.RemoveAll(filepath.Join(root, "greeter")))
	w.event(plugin.Unloaded, "greeter")
	assert.Len(t, w.host.List(), 1)
}

func TestWatch_AFolderThatIsBeingCopiedIsNotRead(t *testing.T) {
	t.Parallel()
	const quiet = 500 * time.Millisecond
	w := newWorld(t, plugin.WithDebounce(quiet))
	w.plugin("plugins/other", "v 1", services(parting))
	w.watch()
	w.event(plugin.Loaded, "other") // what is there when the watch begins is read at once
	w.plugin("plugins/greeter", "broken by half")
	begun := time.Now()
	for time.Since(begun) < 2*quiet {
		w.write("plugins/greeter/sub/folder/file", time.Now().String())
		select {
		case e := <-w.events:
			require.Fail(t, "it was read while files are written", "%+v", e)
		case <-time.After(quiet / 10):
		}
	}
	w.plugin("plugins/greeter", "v 1")
	w.event(plugin.Loaded, "greeter")
}

func TestWatch_ARenamedFolderKeepsItsPlugin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plugin("plugins/a", "v 1", named("greeter"))
	w.plugin("plugins/z", "v 1", services(parting)) // has the name of its folder
	root := w.watch()
	for range 2 {
		<-w.events
	}
	require.NoError(t, os.Rename(filepath.Join(root, "a"), filepath.Join(root, "b")))
	require.NoError(t, os.Rename(filepath.Join(root, "z"), filepath.Join(root, "y")))
	w.event(plugin.Unloaded, "z")
	w.event(plugin.Loaded, "y")
	require.Eventually(t, func() bool { // it is no event that a folder has another name
		return w.status("greeter").Folder == filepath.Join(root, "b")
	}, patience, time.Millisecond)
	assert.Equal(t, 1, w.status("greeter").Generation)
	w.requireVersion(hello, "v 1")
	w.requireVersion(bye, "v 1")

	w.plugin("plugins/b", "v 2", named("greeter"))
	w.event(plugin.Replaced, "greeter")
}

func TestWatch_AnotherFolderInThePlaceIsAChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plugin.WithDebounce(200*time.Millisecond))
	w.plugin("plugins/greeter", "v 1")
	root := w.watch()
	w.event(plugin.Loaded, "greeter")
	next := w.plugin("next", "v 2")
	require.NoError(t, os.Rename(filepath.Join(root, "greeter"), filepath.Join(w.root, "before")))
	require.NoError(t, os.Rename(next, filepath.Join(root, "greeter")))
	w.event(plugin.Replaced, "greeter")
	w.plugin("plugins/greeter", "v 3") // the new folder is watched, too
	w.event(plugin.Replaced, "greeter")
	w.requireVersion(hello, "v 3")
}

func TestWatch_AConflictEndsWithItsCause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plugin("plugins/first", "v 1")
	root := w.watch()
	w.event(plugin.Loaded, "first")
	w.plugin("plugins/second", "v 2")
	w.event(plugin.Failed, "second")
	require.NoError(t, os.RemoveAll(filepath.Join(root, "first")))
	w.event(plugin.Unloaded, "first")
	w.event(plugin.Loaded, "second")
	w.requireVersion(hello, "v 2")
}

func TestWatch_AConflictEndsWhenANewVersionGivesUpAService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plugin("plugins/first", "v 1", services(greeter, parting))
	w.watch()
	w.event(plugin.Loaded, "first")
	w.plugin("plugins/second", "v 2", services(parting))
	w.event(plugin.Failed, "second")
	w.plugin("plugins/first", "v 3")
	w.event(plugin.Replaced, "first")
	w.event(plugin.Loaded, "second")
	w.requireVersion(bye, "v 2")
}

func TestWatch_AConflictWithWhatCannotBeLoadedEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plugin("plugins/first", "breaks-late")
	w.watch()
	require.Eventually(t, func() bool { return w.loader.loaded() == 1 }, patience, time.Millisecond) // it is no event
	w.plugin("plugins/second", "v 2")
	w.event(plugin.Failed, "second")
	close(w.loader.late)
	w.event(plugin.Failed, "first")
	w.event(plugin.Loaded, "second")
	w.requireVersion(hello, "v 2")
}

func TestWatch_AFolderHasOnePlugin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plugin("plugins/greeter", "v 1", named("first"))
	root := w.watch()
	w.event(plugin.Loaded, "first")
	w.plugin("plugins/greeter", "v 2", named("second"), services(parting))
	w.event(plugin.Loaded, "second")
	w.event(plugin.Unloaded, "first")
	require.NoError(t, os.RemoveAll(filepath.Join(root, "greeter")))
	w.event(plugin.Unloaded, "second")
}

func TestWatch_AFolderThatIsGoneHasNoPlugins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plugin("plugins/greeter", "v 1", named("first"))
	root := w.watch()
	w.event(plugin.Loaded, "first")
	w.plugin("plugins/greeter", "v 2", named("second"))
	w.event(plugin.Failed, "second") // the first has its service
	require.NoError(t, os.RemoveAll(filepath.Join(root, "greeter")))
	w.event(plugin.Unloaded, "first")
	require.Eventually(t, func() bool { return len(w.host.List()) == 0 }, patience, time.Millisecond) // it is no event
}

func TestWatch_RootGoesAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plugin.WithPollInterval(20*time.Millisecond))
	w.plugin("plugins/greeter", "v 1")
	root := w.watch()
	w.event(plugin.Loaded, "greeter")
	require.NoError(t, os.Rename(root, root+".old"))
	w.event(plugin.Unloaded, "greeter")
	w.plugin("plugins/greeter", "v 2")
	w.event(plugin.Loaded, "greeter")
	w.plugin("plugins/greeter", "v 3")
	w.event(plugin.Replaced, "greeter")
}

func TestWatch_FollowsALinkedFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plugin.WithPollInterval(20*time.Millisecond))
	w.plugin("releases/1", "v 1", named("greeter"))
	w.plugin("releases/2", "v 2", named("greeter"))
	root := w.watch()
	link := filepath.Join(root, "greeter")
	require.NoError(t, os.Symlink(filepath.Join(w.root, "releases", "1"), link))
	w.event(plugin.Loaded, "greeter")
	require.NoError(t, os.Symlink(filepath.Join(w.root, "releases", "2"), link+".new"))
	require.NoError(t, os.Rename(link+".new", link))
	require.Eventually(t, func() bool {
		version, err := w.call(hello)
		return err == nil && version == "v 2"
	}, patience, time.Millisecond)
}

func TestWatch_NeedsARoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	err := w.host.Watch(t.Context(), filepath.Join(w.root, "nowhere"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "cannot be watched")
}

func TestWatch_EndsWithTheHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plugin("greeter", "v 1")
	ended := make(chan error, 1)
	go func() { ended <- w.host.Watch(context.Background(), w.root) }()
	w.event(plugin.Loaded, "greeter")
	require.NoError(t, w.host.Shutdown(t.Context()))
	require.ErrorIs(t, <-ended, plugin.ErrHostClosed)
}
