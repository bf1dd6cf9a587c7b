//go:build unix

package source

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// liarFS is a folder whose method Stat describes every file as a regular file.
type liarFS struct{ folderFS }

func (f liarFS) Stat(string) (fs.FileInfo, error) { return f.folderFS.Stat("regular") }

func TestFiles_AFileBecomesAFIFO(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "regular"), []byte("content"), 0o600))
	require.NoError(t, syscall.Mkfifo(filepath.Join(folder, "fifo"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(folder, "folder"), 0o700))
	root, err := os.OpenRoot(folder)
	require.NoError(t, err)
	defer root.Close()
	files := newFiles(liarFS{folderFS{root}})
	for range 1000 {
		content, err := files.read("regular", 100)
		require.NoError(t, err)
		assert.Equal(t, "content", string(content))
		for _, name := range []string{"fifo", "folder"} {
			_, err = files.read(name, 100)
			require.EqualError(t, err, name+" is not a regular file")
		}
	}
}
