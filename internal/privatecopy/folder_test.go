package privatecopy_test

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/privatecopy"
)

func removeStale(directory string) (removed []string) {
	privatecopy.RemoveStale(directory, "copy-", func(folder string) { removed = append(removed, filepath.Base(folder)) })
	return removed
}

func TestRemoveStale_RemovesFoldersThatNobodyLocks(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no locks")
	}
	directory := t.TempDir()
	for _, name := range []string{"copy-stale/host.lock", "copy-stale/sub/code", "copy-other/code", "stranger/host.lock", "copy-linked/x", "target/host.lock"} {
		path := filepath.Join(directory, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(directory, "copy-file"), nil, 0o600))
	require.NoError(t, os.Symlink("target", filepath.Join(directory, "copy-link")))
	require.NoError(t, os.Symlink("../target/host.lock", filepath.Join(directory, "copy-linked", "host.lock")))
	living, err := privatecopy.New(directory, "copy-")
	require.NoError(t, err)
	path, err := living.WriteProgram("code", []byte("code"))
	require.NoError(t, err)

	assert.Equal(t, []string{"copy-stale"}, removeStale(directory))
	assert.Empty(t, removeStale(directory))
	assert.NoDirExists(t, filepath.Join(directory, "copy-stale"))
	for _, name := range []string{"copy-other/code", "stranger/host.lock", "copy-linked/x", "target/host.lock", "copy-file", "copy-link"} {
		assert.FileExists(t, filepath.Join(directory, name))
	}
	assert.FileExists(t, path)
	require.NoError(t, living.Remove())
	assert.NoDirExists(t, living.Path)
	assert.Empty(t, removeStale(filepath.Join(directory, "nowhere")))
}

func TestNew_WhileOthersRemoveStaleFolders(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	done := make(chan struct{})
	var cleaners, makers sync.WaitGroup
	for range 2 {
		cleaners.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					removeStale(directory)
				}
			}
		})
	}
	for range 4 {
		makers.Go(func() {
			for range 100 {
				folder, err := privatecopy.New(directory, "copy-")
				if !assert.NoError(t, err) {
					return
				}
				path, err := folder.WriteProgram("code", []byte("code"))
				assert.NoError(t, err)
				runtime.Gosched()
				assert.FileExists(t, path)
				assert.NoError(t, folder.Remove())
			}
		})
	}
	makers.Wait()
	close(done)
	cleaners.Wait()
	entries, err := os.ReadDir(directory)
	require.NoError(t, err)
	assert.Empty(t, entries)
}
