package main

import "time"

// settled is how long a load waits for missing messages, at least. The wait starts again with each
// message that arrives. Messages that are still missing at the end count as lost. Only tests of this
// program set it.
var settled = 500 * time.Millisecond

// settle waits until complete returns true, or until the value returned by count was the same in
// each of many checks, one for each millisecond of [settled]. It returns the time of the last
// change. It counts checks instead of time, because nothing arrives while this process is suspended.
// On a busy machine, the checks therefore take longer than [settled].
func settle(complete func() bool, count func() uint64) time.Time {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	last, changed := count(), time.Now()
	for unchanged := 0; !complete() && unchanged < int(settled/time.Millisecond); unchanged++ {
		now := <-ticker.C
		if n := count(); n != last {
			last, changed, unchanged = n, now, 0
		}
	}
	return changed
}
