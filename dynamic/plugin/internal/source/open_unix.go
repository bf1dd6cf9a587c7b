//go:build unix

package source

import "syscall"

// openNonblocking is a flag for os.OpenFile. With this flag, opening a FIFO does not wait for a
// writer.
const openNonblocking = syscall.O_NONBLOCK
