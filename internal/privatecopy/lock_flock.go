//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package privatecopy

import (
	"os"
	"syscall"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// waitForLock waits until it has locked a file. If the file system has no locks, it does nothing.
func waitForLock(file *os.File) {
	for errors.Is(syscall.Flock(int(file.Fd()), syscall.LOCK_EX), syscall.EINTR) { // try again
	}
}

// tryLock opens and locks a file. It returns nil if the file cannot be opened or is already locked.
func tryLock(path string) *os.File {
	// The flags are needed because other users may have put a link or a FIFO in place of the file.
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
