package logthrottle_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
)

func TestThrottle_Allow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var throttle logthrottle.Throttle
		allow := func(wantCount uint64, wantOK bool) {
			t.Helper()
			synctest.Wait() // for timers that expire now
			count, ok := throttle.Allow(time.Second)
			assert.Equal(t, wantOK, ok)
			assert.Equal(t, wantCount, count)
		}
		allow(1, true)
		allow(0, false)
		<-time.After(time.Second - time.Nanosecond)
		allow(0, false)
		<-time.After(time.Nanosecond)
		allow(3, true)
		allow(0, false)
		<-time.After(time.Hour)
		allow(2, true)
	})
}

func TestThrottle_CountsConcurrentOccurrences(t *testing.T) {
	t.Parallel()
	const goroutines, each = 8, 1000
	var throttle logthrottle.Throttle
	var reported atomic.Uint64
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for range each {
				count, _ := throttle.Allow(time.Microsecond)
				reported.Add(count)
			}
		})
	}
	all.Wait()
	// The last occurrences may not have been reported yet.
	last := uint64(0)
	for ok := false; !ok; last++ {
		var count uint64
		count, ok = throttle.Allow(time.Microsecond)
		reported.Add(count)
		runtime.Gosched()
	}
	assert.Equal(t, goroutines*each+last, reported.Load())
}
