//go:build unix && !linux

package plugin

import (
	"fmt"
	"io/fs"
	"syscall"
)

// fileIdentity returns a text that differs between two files that replaced each other. Size and
// modification time may stay equal: reproducible builds and rsync set the modification time.
func fileIdentity(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprint(stat.Dev, " ", stat.Ino)
}
