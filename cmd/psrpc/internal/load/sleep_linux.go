package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// sleep sleeps for a duration, unless a signal ends it early. It uses the kernel's nanosleep, which
// is accurate to about 60 µs. In an idle program, Go's own timers may fire up to a millisecond
// late.
func sleep(d time.Duration) {
	spec := unix.NsecToTimespec(int64(d))
	// A signal may end the sleep early. The caller then calls sleep again.
	_ = unix.Nanosleep(&spec, nil)
}
