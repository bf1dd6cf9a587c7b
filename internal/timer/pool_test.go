package timer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPool_TimersFireOnTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		for _, d := range []time.Duration{time.Hour, 0, time.Second, time.Minute} {
			start := time.Now()
			timer := p.Start(d)
			<-timer.C
			require.Equal(t, d, time.Since(start))
			p.Stop(timer)
		}
	})
}

// A reused timer must not fire before its new deadline, even if it had already fired before it was
// stopped.
func TestPool_ReusedTimerDeliversNoStaleTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		// The timer is stopped before it fires, or after it has fired.
		for _, wait := range []time.Duration{0, time.Hour} {
			timer := p.Start(time.Minute)
			<-time.After(wait)
			p.Stop(timer)
			start := time.Now()
			reused := p.Start(time.Hour)
			assert.Equal(t, time.Hour, (<-reused.C).Sub(start))
			p.Stop(reused)
		}
	})
}

func TestPool_StoppedTimerDoesNotFire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		timer := p.Start(time.Second)
		p.Stop(timer)
		<-time.After(time.Hour)
		assert.Empty(t, timer.C)
	})
}
