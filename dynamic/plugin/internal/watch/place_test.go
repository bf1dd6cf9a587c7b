package watch

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
