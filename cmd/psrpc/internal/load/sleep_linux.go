package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// sleep sleeps for a duration. It asks the kernel, whose sleep is exact to about 60 µs. The timers
// of Go's runtime may fire up to a millisecond late in a program that is otherwise idle.
func sleep(d time.Duration) {
	spec := unix.NsecToTimespec(int64(d))
	// A signal may end the sleep early. The caller then calls sleep again.
	_ = unix.Nanosleep(&spec, nil)
}
