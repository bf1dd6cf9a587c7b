//go:build !linux

package load

import "time"

// sleep sleeps for a duration.
func sleep(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}
