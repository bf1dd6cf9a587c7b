package dynamic

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// watched returns a call that an alarm tells of its end, which is in so long.
func watched(a *alarm, d time.Duration) *newsBox {
	call := newNewsBox(newSignal())
	call.ends = int64(time.Since(a.epoch) + d)
	a.watch(&call, d)
	return &call
}

// requireRung waits until a call is told, which must be at the right time.
func requireRung(t *testing.T, call *newsBox, after time.Duration) {
	t.Helper()
	started := time.Now()
	<-call.wake
	assert.Equal(t, after, time.Since(started))
	assert.True(t, call.look().late)
}

func TestAlarm_RingsForEachCallAtItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &alarm{epoch: time.Now()}
		requireRung(t, watched(a, time.Second), time.Second)

		long := watched(a, time.Hour)
		a.call.Store(nil)
		requireRung(t, watched(a, time.Minute), time.Minute) // sooner than the timer was set for
		requireRung(t, watched(a, 2*time.Hour), 2*time.Hour) // and the other way round
		assert.False(t, long.look().late)
	})
}

func TestAlarm_GoesOnForTheNextCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &alarm{epoch: time.Now()}
		first := watched(a, 3*time.Second)
		<-time.After(time.Second)
		a.call.Store(nil)
		requireRung(t, watched(a, 3*time.Second), 3*time.Second) // by a timer that was set for the first one
		assert.False(t, first.look().late)

		watched(a, time.Second)
		a.call.Store(nil)
		<-time.After(time.Minute) // it has found no call
		assert.False(t, a.armed.Load())
		requireRung(t, watched(a, time.Second), time.Second)
	})
}
