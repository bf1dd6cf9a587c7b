package e2e

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// latencies is a list of call latencies, in ascending order.
type latencies []time.Duration

func (l latencies) p50() float64 { return float64(l[len(l)/2]) }
func (l latencies) p99() float64 { return float64(l[len(l)*99/100]) }

// measureCalls makes calls from several concurrent goroutines, one for each caller, and returns the
// latencies. calls is the total number of calls.
func measureCalls(b *testing.B, callers, calls int, call func() error) latencies {
	b.Helper()
	perCaller := make([]latencies, callers)
	var running sync.WaitGroup
	for i := range callers {
		// This goroutine ends before measureCalls returns.
		running.Go(func() {
			for n := i; n < calls; n += callers {
				started := time.Now()
				if err := call(); err != nil {
					b.Error(err)
					return
				}
				perCaller[i] = append(perCaller[i], time.Since(started))
			}
		})
	}
	running.Wait()
	all := slices.Concat(perCaller...)
	if len(all) == 0 {
		b.FailNow()
	}
	slices.Sort(all)
	return all
}
