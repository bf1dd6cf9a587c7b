//go:build unix

package main

import (
	"syscall"
	"time"
)

// processorTime returns the user and system CPU time that this process has used, or 0 if it is not
// known.
func processorTime() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
