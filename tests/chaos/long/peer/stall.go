package main

import "time"

const (
	// stallCheck is the time between two checks of reportStalls.
	stallCheck = 20 * time.Millisecond
	// stallMin is the shortest time without a check that reportStalls reports.
	stallMin = 500 * time.Millisecond
)

// reportStalls reports when the process got no processor for some time, or was stopped. It runs until
// the process ends.
func reportStalls() {
	last := time.Now()
	for range time.Tick(stallCheck) {
		now := time.Now()
		if now.Sub(last) >= stallMin {
			reportf("stalled %d %d", last.UnixNano(), now.UnixNano())
		}
		last = now
	}
}
