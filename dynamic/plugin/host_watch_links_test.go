package plugin_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
)

// release creates version n of the plugin greeter. As in a reproducible build, the files of all
// versions have the same size and modification time.
func (f *fleet) release(folder, n string) {
	f.Helper()
	path := f.plugin(folder, "v "+n, named("greeter"))
	require.NoError(f, filepath.WalkDir(path, func(name string, _ fs.DirEntry, err error) error {
		require.NoError(f, err)
		return os.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0))
	}))
}

// link creates a symbolic link, or replaces an existing one atomically.
func (f *fleet) link(name, target string) {
	f.Helper()
	path := filepath.Join(f.root, name)
	require.NoError(f, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(f, os.Symlink(target, path+"_tmp"))
	require.NoError(f, os.Rename(path+"_tmp", path))
}

func (f *fleet) rename(from, to string) {
	f.Helper()
	require.NoError(f, os.Rename(filepath.Join(f.root, from), filepath.Join(f.root, to)))
}

func (f *fleet) removeAll(name string) {
	f.Helper()
	require.NoError(f, os.RemoveAll(filepath.Join(f.root, name)))
}

// The host must notice each change of a symbolic link through file system events, because the poll
// interval is longer than the test.
func TestWatch_LinksAboveAndInAPlugin(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before, change func(f *fleet)
	}{
		"the root is a ConfigMap": {func(f *fleet) {
			f.release("plugins/..one/greeter", "1")
			f.link("plugins/..data", "..one")
			f.link("plugins/greeter", "..data/greeter")
		}, func(f *fleet) {
			f.release("plugins/..two/greeter", "2")
			f.link("plugins/..data", "..two")
			f.removeAll("plugins/..one")
		}},
		"the folder is a ConfigMap": {func(f *fleet) {
			f.release("plugins/greeter/..one", "1")
			f.link("plugins/greeter/..data", "..one")
			for _, file := range []string{plugin.ManifestName, "code", "greeting.proto"} {
				f.link("plugins/greeter/"+file, "..data/"+file)
			}
		}, func(f *fleet) {
			f.release("plugins/greeter/..two", "2")
			f.link("plugins/greeter/..data", "..two")
			f.removeAll("plugins/greeter/..one")
		}},
		"the root is a link": {func(f *fleet) {
			f.release("worktrees/1/greeter", "1")
			f.link("plugins", filepath.Join(f.root, "worktrees", "1"))
		}, func(f *fleet) {
			f.release("worktrees/2/greeter", "2")
			f.link("plugins", filepath.Join("worktrees", "2"))
		}},
		"the root is below a link": {func(f *fleet) {
			f.release("worktrees/1/deploy/plugins/greeter", "1")
			f.link("current", "worktrees/1")
			f.link("plugins", "current/deploy/plugins")
		}, func(f *fleet) {
			f.release("worktrees/2/deploy/plugins/greeter", "2")
			f.link("current", "worktrees/2")
			f.removeAll("worktrees/1")
		}},
		"the root is a link that is missing for a moment": {func(f *fleet) {
			f.release("worktrees/1/greeter", "1")
			f.link("plugins", "worktrees/1")
		}, func(f *fleet) {
			f.release("worktrees/2/greeter", "2")
			f.removeAll("plugins")
			f.link("plugins", "worktrees/2")
		}},
		"the folder is a link": {func(f *fleet) {
			f.release("releases/1", "1")
			f.link("plugins/greeter", filepath.Join(f.root, "releases", "1"))
		}, func(f *fleet) {
			f.release("releases/2", "2")
			f.link("plugins/greeter", "../releases/2")
		}},
		"the folder is a link to a link elsewhere": {func(f *fleet) {
			f.release("releases/1", "1")
			f.link("latest/greeter", "../releases/1")
			f.link("plugins/greeter", "../latest/greeter")
		}, func(f *fleet) {
			f.release("releases/2", "2")
			f.link("latest/greeter", "../releases/2")
		}},
		"the target of a link is replaced": {func(f *fleet) {
			f.release("releases/current", "1")
			f.link("plugins/greeter", "../releases/current")
		}, func(f *fleet) {
			f.release("releases/next", "2")
			f.rename("releases/current", "releases/previous")
			f.rename("releases/next", "releases/current")
		}},
		"the target of a link appears later": {func(f *fleet) {
			f.release("plugins/greeter", "1")
			require.NoError(f, os.Mkdir(filepath.Join(f.root, "releases"), 0o700))
		}, func(f *fleet) {
			f.rename("plugins/greeter", "previous")
			f.link("plugins/greeter", "../releases/2")
			f.release("next", "2")
			f.rename("next", "releases/2")
		}},
		"a linked folder is written in place": {func(f *fleet) {
			f.release("releases/current", "1")
			f.link("plugins/greeter", "../releases/current")
		}, func(f *fleet) {
			code := filepath.Join(f.root, "releases", "current", "code")
			require.NoError(f, os.WriteFile(code, []byte("v 2"), 0o600))
			require.NoError(f, os.Chtimes(code, time.Unix(1, 0), time.Unix(1, 0)))
		}},
		"two folders are links to one": {func(f *fleet) {
			f.release("releases/current", "1")
			f.link("plugins/a", "../releases/current")
			f.link("plugins/b", "../releases/current")
		}, func(f *fleet) {
			f.release("releases/current", "2")
		}},
		"the code is a link": {func(f *fleet) {
			f.release("plugins/greeter", "1")
			f.rename("plugins/greeter/code", "plugins/greeter/code.1")
			f.link("plugins/greeter/code", "code.1")
		}, func(f *fleet) {
			f.release("plugins/greeter/next", "2")
			f.rename("plugins/greeter/next/code", "plugins/greeter/code.2")
			f.link("plugins/greeter/code", "code.2")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, plugin.WithPollInterval(time.Hour))
			test.before(f)
			f.watchRoot(filepath.Join(f.root, "plugins"))
			f.event(plugin.Loaded, "greeter")
			f.requireVersion(hello, "v 1")
			test.change(f)
			require.Eventually(t, func() bool {
				version, err := f.call(hello)
				return err == nil && version == "v 2"
			}, waitTimeout, time.Millisecond)
		})
	}
}
