package main

import "time"

const (
	// stallCheck is the time between two checks of reportStalls.
	stallCheck = 20 * time.Millisecond
	// stallMin is the shortest time without a check that reportStalls reports.
	stallMin = 500 * time.Millisecond
)

// reportStalls reports the periods in which the process got no CPU time or was stopped. It runs
// until the process ends.
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
