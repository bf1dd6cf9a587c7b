package main

import "time"

// settled is how long nothing more must come until what is missing counts as lost.
const settled = 500 * time.Millisecond

// settle waits until complete says so, or until the count has not changed for a while. It returns when the count last
// changed.
func settle(complete func() bool, count func() uint64) time.Time {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	last, changed := count(), time.Now()
	for !complete() && time.Since(changed) < settled {
		now := <-ticker.C
		if n := count(); n != last {
			last, changed = n, now
		}
	}
	return changed
}
