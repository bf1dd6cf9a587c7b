//go:build linux

package goplugin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestLoader_NamesANoexecFolder(t *testing.T) {
	t.Parallel()
	if !supported {
		t.Skip("Go plugins are not supported here")
	}
	if testing.Short() {
		t.Skip("it builds plugins")
	}
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", unix.MS_NOEXEC, ""); err != nil {
		t.Skip("cannot mount a file system: " + err.Error())
	}
	// The unmount is repeated, because a process that another test starts at the same time may
	// briefly hold a file of the mount.
	defer func() {
		require.Eventually(t, func() bool { return unix.Unmount(mount, 0) == nil }, buildTimeout, time.Millisecond)
	}()
	b := builder{t, t.TempDir()}
	lines := b.run(b.build("host", "host"), []string{"TMPDIR=" + mount}, b.plugin("first", "greeter/main.go", "version=1"))
	assert.Contains(t, lines[0], "the folder of temporary files, "+mount+", may be mounted noexec")
}
