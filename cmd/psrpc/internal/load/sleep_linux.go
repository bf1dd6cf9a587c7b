package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// sleep sleeps for a duration. The timers of Go's runtime may fire up to a millisecond late in a
// program that is otherwise idle. The kernel's sleep is exact to about 60 µs.
func sleep(d time.Duration) {
	spec := unix.NsecToTimespec(int64(d))
	// A signal may end the sleep early. The caller then sleeps again.
	_ = unix.Nanosleep(&spec, nil)
}
