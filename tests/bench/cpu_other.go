//go:build !unix

package main

import "time"

// processorTime returns zero: the CPU time of the process is unknown on this platform.
func processorTime() time.Duration { return 0 }
