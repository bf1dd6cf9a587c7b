//go:build !unix

package main

import "time"

// processorTime returns 0 because the CPU time of the process is not available on this platform.
func processorTime() time.Duration { return 0 }
