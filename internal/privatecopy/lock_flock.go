//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package privatecopy

import (
	"os"
	"syscall"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// waitForLock locks a file. It waits while another process holds the lock. If the file system does
// not support locks, waitForLock does nothing.
func waitForLock(file *os.File) {
	// The loop retries if a signal has interrupted the call.
	for errors.Is(syscall.Flock(int(file.Fd()), syscall.LOCK_EX), syscall.EINTR) {
	}
}

// tryLock opens and locks a file. It returns nil if the file cannot be opened or is already locked.
func tryLock(path string) *os.File {
	// Another user may have replaced the file by a link or a FIFO. With these flags, OpenFile
	// neither follows the link nor blocks.
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) //nolint:gosec // a path of this package
	if err != nil {
		return nil
	}
	if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = file.Close()
		return nil
	}
	return file
}
