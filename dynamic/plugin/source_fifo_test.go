//go:build unix

package plugin

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Reading a plugin must not block if one of its files is a FIFO without a writer, even if the file
// is replaced by the FIFO while the plugin is being read.
func TestReadSource_FIFOsNeverBlock(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	regular := map[string]string{
		ManifestName: `{"name": "x", "loader": "l", "code": "code", "descriptors": "a.proto"}`, "code": "code",
		"a.proto": `syntax = "proto3"; import "b.proto"; service S { rpc M(B) returns (B); }`, "b.proto": `syntax = "proto3"; message B {}`,
	}
	for name, content := range regular {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600))
		require.NoError(t, syscall.Mkfifo(filepath.Join(folder, name+".fifo"), 0o600))
	}
	_, err := ReadSource(folder)
	require.NoError(t, err)
	done := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for {
			for name := range regular {
				path := filepath.Join(folder, name)
				for _, names := range [][2]string{{path, path + ".x"}, {path + ".fifo", path}, {path, path + ".fifo"}, {path + ".x", path}} {
					assert.NoError(t, os.Rename(names[0], names[1]))
				}
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	failed := 0
	for range 2000 {
		if _, err := ReadSource(folder); err != nil {
			failed++
		}
		_ = readName(folder)
	}
	close(done)
	swapping.Wait()
	assert.Positive(t, failed)
	_, err = ReadSource(folder)
	require.NoError(t, err)

	fifo := filepath.Join(folder, "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	_, err = ReadSource(fifo)
	require.ErrorContains(t, err, "cannot open the folder")
}

func TestOpenSource_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		_, err := openSource(ctx, t.TempDir())
		require.Error(t, err)
	}
}
