package watch

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func writeRelease(t *testing.T, folder, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(folder, 0o700))
	for _, name := range []string{manifestName, "code"} {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		require.NoError(t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
	}
}

func TestFolder_FilesOfEqualSizeAndTime(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has the time of the last change of a file's attributes")
	}
	root := t.TempDir()
	f := &folder{path: filepath.Join(root, "greeter"), manifest: manifestName}
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
