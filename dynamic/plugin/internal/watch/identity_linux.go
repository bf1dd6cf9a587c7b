package watch

import (
	"fmt"
	"io/fs"
	"syscall"
)

// fileIdentity returns a string that changes when a file is written or replaced by another file.
// The size and the modification time are not enough to detect this, because tools such as rsync set
// the modification time.
func fileIdentity(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprint(stat.Dev, " ", stat.Ino, " ", stat.Ctim.Nano())
}
