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
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// watch watches the folder "plugins" until the test ends.
func (f *fleet) watch() (root string) {
	f.Helper()
	root = filepath.Join(f.root, "plugins")
	require.NoError(f, os.MkdirAll(root, 0o700))
	f.watchRoot(root)
	return root
}

// watchRoot watches a folder until the test ends.
func (f *fleet) watchRoot(root string) {
	f.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.host.Watch(ctx, root) }()
	f.Cleanup(func() {
		stop()
		require.NoError(f, <-ended)
	})
}

// removePlugin removes the folder of a plugin. It removes the manifest first: if another file is
// removed before the manifest, a watch may load the plugin again and fail.
func (f *fleet) removePlugin(folder string) {
	f.Helper()
	path := filepath.Join(f.root, filepath.FromSlash(folder))
	require.NoError(f, os.Remove(filepath.Join(path, plugin.ManifestName)))
	require.NoError(f, os.RemoveAll(path))
}

func named(name string) func(*plugin.Manifest) {
	return func(m *plugin.Manifest) { m.Name = name }
}

func TestWatch_FollowsFolders(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.plugin("plugins/first", "v 1")
	f.write("plugins/no-plugin/readme.txt", "nothing here")
	f.write("plugins/file", "nothing either")
	root := f.watch()
	f.event(plugin.Loaded, "first")
	f.requireVersion(hello, "v 1")

	f.plugin("plugins/second", "v 2", services(parting))
	f.event(plugin.Loaded, "second")
	f.requireVersion(bye, "v 2")

	f.write("plugins/first/code", "v 3")
	f.event(plugin.Replaced, "first")
	f.requireVersion(hello, "v 3")

	f.removePlugin("plugins/second")
	f.event(plugin.Unloaded, "second")

	require.NoError(t, os.Remove(filepath.Join(root, "first", plugin.ManifestName)))
	f.event(plugin.Unloaded, "first")
	f.plugin("plugins/no-plugin", "v 4")
	f.event(plugin.Loaded, "no-plugin")
	assert.Len(t, f.host.List(), 1)
}

func TestWatch_RetriesAfterAChange(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.plugin("plugins/other", "v 1", services(parting))
	root := f.watch()
	f.event(plugin.Loaded, "other")
	f.plugin("plugins/greeter", "broken", func(m *plugin.Manifest) { m.SHA256 = "00" })
	failed := f.event(plugin.Failed, "")
	assert.Equal(t, filepath.Join(root, "greeter"), failed.Folder)
	require.ErrorContains(t, failed.Err, "field sha256")
	assert.Len(t, f.host.List(), 2)

	f.plugin("plugins/greeter", "broken")
	f.event(plugin.Failed, "greeter")
	f.write("plugins/greeter/code", "v 2")
	f.event(plugin.Loaded, "greeter")
	f.requireVersion(hello, "v 2")
	f.requireVersion(bye, "v 1")

	f.write("plugins/greeter/"+plugin.ManifestName, `{"loader": "te`)
	failed = f.event(plugin.Failed, "greeter")
	require.ErrorContains(t, failed.Err, "the JSON is incomplete")
	f.requireVersion(hello, "v 2")
	f.removePlugin("plugins/greeter")
	f.event(plugin.Unloaded, "greeter")
	assert.Len(t, f.host.List(), 1)
}

func TestWatch_WaitsUntilAFolderIsCopied(t *testing.T) {
	t.Parallel()
	const debounce = 3 * time.Second // longer than a busy machine may pause between two writes
	f := newFleet(t, plugin.WithDebounce(debounce))
	f.plugin("plugins/other", "v 1", services(parting))
	f.watch()
	f.event(plugin.Loaded, "other") // folders that exist already are read at once
	f.plugin("plugins/greeter", "broken copy")
	start := time.Now()
	for time.Since(start) < debounce*3/2 {
		f.write("plugins/greeter/sub/folder/file", time.Now().String())
		select {
		case e := <-f.events:
			require.Fail(t, "the folder was read while files were written", "%+v", e)
		case <-time.After(debounce / 30):
		}
	}
	f.plugin("plugins/greeter", "v 1")
	f.event(plugin.Loaded, "greeter")
}

func TestWatch_ARenamedFolderKeepsItsPlugin(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.plugin("plugins/a", "v 1", named("greeter"))
	f.plugin("plugins/z", "v 1", services(parting)) // the plugin has the name of its folder
	root := f.watch()
	for range 2 {
		<-f.events
	}
	require.NoError(t, os.Rename(filepath.Join(root, "a"), filepath.Join(root, "b")))
	require.NoError(t, os.Rename(filepath.Join(root, "z"), filepath.Join(root, "y")))
	// If the new folder is loaded before the old one is unloaded, the load fails and is repeated.
	e := f.next()
	if e.Kind == plugin.Failed {
		require.ErrorIs(t, e.Err, errors.AlreadyExists)
		e = f.next()
	}
	require.Equal(t, "unloaded z", e.Kind.String()+" "+e.Plugin)
	f.event(plugin.Loaded, "y")
	require.Eventually(t, func() bool { // renaming a folder causes no event
		return f.status("greeter").Folder == filepath.Join(root, "b")
	}, waitTimeout, time.Millisecond)
	assert.Equal(t, 1, f.status("greeter").Generation)
	f.requireVersion(hello, "v 1")
	f.requireVersion(bye, "v 1")

	f.write("plugins/b/code", "v 2")
	f.event(plugin.Replaced, "greeter")
}

func TestWatch_ASwappedFolderIsAChange(t *testing.T) {
	t.Parallel()
	// The debounce interval is long, because a busy machine may pause between the two renames.
	f := newFleet(t, plugin.WithDebounce(3*time.Second))
	f.plugin("plugins/greeter", "v 1")
	root := f.watch()
	f.event(plugin.Loaded, "greeter")
	next := f.plugin("next", "v 2")
	require.NoError(t, os.Rename(filepath.Join(root, "greeter"), filepath.Join(f.root, "before")))
	require.NoError(t, os.Rename(next, filepath.Join(root, "greeter")))
	f.event(plugin.Replaced, "greeter")
	f.write("plugins/greeter/code", "v 3") // the new folder must be watched as well
	f.event(plugin.Replaced, "greeter")
	f.requireVersion(hello, "v 3")
}

// A watch must treat changes of several files as one change if they follow each other within the
// debounce interval, and must unload a plugin whose folder is removed file by file.
func TestWatch_SeveralFilesAreOneChange(t *testing.T) {
	t.Parallel()
	// The debounce interval is long, because a busy machine may pause between two changes.
	f := newFleet(t, plugin.WithDebounce(3*time.Second))
	f.plugin("plugins/greeter", "v 1")
	root := f.watch()
	f.event(plugin.Loaded, "greeter")
	f.plugin("plugins/greeter", "v 2") // another manifest and another code
	f.event(plugin.Replaced, "greeter")
	f.requireVersion(hello, "v 2")
	assert.Equal(t, "v 2", f.status("greeter").Version)
	assert.Equal(t, 2, f.status("greeter").Generation, "versions of the plugin")
	require.NoError(t, os.RemoveAll(filepath.Join(root, "greeter")))
	f.event(plugin.Unloaded, "greeter")
	assert.Empty(t, f.host.List())
	assert.Equal(t, 2, f.loader.loaded())
}

func TestWatch_RetriesAConflictAfterAnUnload(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.plugin("plugins/first", "v 1")
	f.watch()
	f.event(plugin.Loaded, "first")
	f.plugin("plugins/second", "v 2")
	f.event(plugin.Failed, "second")
	f.removePlugin("plugins/first")
	f.event(plugin.Unloaded, "first")
	f.event(plugin.Loaded, "second")
	f.requireVersion(hello, "v 2")
}

func TestWatch_RetriesAConflictWhenAVersionDropsTheService(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.plugin("plugins/first", "v 1", services(greeter, parting))
	f.watch()
	f.event(plugin.Loaded, "first")
	f.plugin("plugins/second", "v 2", services(parting))
	f.event(plugin.Failed, "second")
	f.plugin("plugins/first", "v 1") // without the service Parting
	f.event(plugin.Replaced, "first")
	f.event(plugin.Loaded, "second")
	f.requireVersion(bye, "v 2")
}

func TestWatch_RetriesAConflictWithAFailedLoad(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.plugin("plugins/first", "breaks-late")
	f.watch()
	// The host emits no event when a load starts.
	require.Eventually(t, func() bool { return f.loader.loaded() == 1 }, waitTimeout, time.Millisecond)
	f.plugin("plugins/second", "v 2")
	f.event(plugin.Failed, "second")
	close(f.loader.failLate)
	f.event(plugin.Failed, "first")
	f.event(plugin.Loaded, "second")
	f.requireVersion(hello, "v 2")
}

func TestWatch_AFolderHasOnePlugin(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.plugin("plugins/greeter", "v 1", named("first"))
	f.watch()
	f.event(plugin.Loaded, "first")
	f.plugin("plugins/greeter", "v 1", named("second"), services(parting))
	f.event(plugin.Loaded, "second")
	f.event(plugin.Unloaded, "first")
	f.removePlugin("plugins/greeter")
	f.event(plugin.Unloaded, "second")
}

func TestWatch_ARemovedFolderHasNoPlugins(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.plugin("plugins/greeter", "v 1", named("first"))
	f.watch()
	f.event(plugin.Loaded, "first")
	f.plugin("plugins/greeter", "v 1", named("second"))
	f.event(plugin.Failed, "second") // the plugin "first" already serves the service
	f.removePlugin("plugins/greeter")
	f.event(plugin.Unloaded, "first")
	// The host emits no event when it forgets a plugin that failed to load.
	require.Eventually(t, func() bool { return len(f.host.List()) == 0 }, waitTimeout, time.Millisecond)
}

func TestWatch_RootIsRemovedAndComesBack(t *testing.T) {
	t.Parallel()
	f := newFleet(t, plugin.WithPollInterval(20*time.Millisecond))
	f.plugin("plugins/greeter", "v 1")
	root := f.watch()
	f.event(plugin.Loaded, "greeter")
	require.NoError(t, os.Rename(root, root+".old"))
	f.event(plugin.Unloaded, "greeter")
	f.plugin("plugins/greeter", "v 2")
	f.event(plugin.Loaded, "greeter")
	f.write("plugins/greeter/code", "v 3")
	f.event(plugin.Replaced, "greeter")
}

func TestWatch_FollowsALinkedFolder(t *testing.T) {
	t.Parallel()
	f := newFleet(t, plugin.WithPollInterval(20*time.Millisecond))
	f.plugin("releases/1", "v 1", named("greeter"))
	f.plugin("releases/2", "v 2", named("greeter"))
	root := f.watch()
	link := filepath.Join(root, "greeter")
	require.NoError(t, os.Symlink(filepath.Join(f.root, "releases", "1"), link))
	f.event(plugin.Loaded, "greeter")
	require.NoError(t, os.Symlink(filepath.Join(f.root, "releases", "2"), link+".new"))
	require.NoError(t, os.Rename(link+".new", link))
	require.Eventually(t, func() bool {
		version, err := f.call(hello)
		return err == nil && version == "v 2"
	}, waitTimeout, time.Millisecond)
}

func TestWatch_NeedsARoot(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	err := f.host.Watch(t.Context(), filepath.Join(f.root, "nowhere"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "cannot watch plugins in ")
}

func TestWatch_EndsWithTheHost(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.plugin("greeter", "v 1")
	ended := make(chan error, 1)
	go func() { ended <- f.host.Watch(context.Background(), f.root) }()
	f.event(plugin.Loaded, "greeter")
	require.NoError(t, f.host.Shutdown(t.Context()))
	require.ErrorIs(t, <-ended, plugin.ErrHostClosed)
}
