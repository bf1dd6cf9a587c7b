package dynamic

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// watch begins a call that the alarm of its box tells of its end, which is in so long.
func watch(box *callInbox, d time.Duration) {
	box.reset(id.NewRequest())
	box.timer.start(time.Now(), d)
}

// requireRung waits until the call is told, which must be at the right time.
func requireRung(t *testing.T, box *callInbox, after time.Duration) {
	t.Helper()
	started := time.Now()
	<-box.wakeup
	assert.Equal(t, after, time.Since(started))
	assert.True(t, box.snapshot().timedOut)
}

func TestAlarm_RingsForEachCallAtItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := newCallInbox(time.Now())
		watch(box, time.Second)
		requireRung(t, box, time.Second)

		watch(box, time.Minute)
		box.timer.stop()
		watch(box, time.Second) // sooner than the timer was set for
		requireRung(t, box, time.Second)
		watch(box, 2*time.Hour) // and the other way round
		requireRung(t, box, 2*time.Hour)
	})
}

func TestAlarm_GoesOnForTheNextCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := newCallInbox(time.Now())
		watch(box, 3*time.Second)
		<-time.After(time.Second)
		box.timer.stop()
		watch(box, 3*time.Second) // by a timer that was set for the first one
		requireRung(t, box, 3*time.Second)

		watch(box, time.Second)
		box.timer.stop()
		<-time.After(time.Minute) // it has found no call
		assert.False(t, box.timer.armed.Load())
		watch(box, time.Second)
		requireRung(t, box, time.Second)
	})
}

// An alarm lets go of the timer of a call that had long, and it tells such a call at its time.
func TestAlarm_SetsNoTimerForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := newCallInbox(time.Now())
		watch(box, maxTimeout)
		<-time.After(time.Hour)
		box.timer.stop()
		<-time.After(time.Minute)
		synctest.Wait()
		assert.False(t, box.timer.armed.Load())
		watch(box, time.Hour)
		requireRung(t, box, time.Hour)
	})
}

// A call that begins just when the alarm rings for the one before is told, and not before its time.
func TestAlarm_MissesNoCall(t *testing.T) {
	t.Parallel()
	var callers sync.WaitGroup
	for range 2 {
		callers.Go(func() {
			box := newCallInbox(time.Now())
			for range 500 {
				quit := time.Now().Add(rand.N(20 * time.Microsecond))
				watch(box, 10*time.Microsecond)
				for time.Now().Before(quit) { // not asleep, so that the next one begins at any moment
				}
				box.timer.stop()

				started, d := time.Now(), rand.N(100*time.Microsecond)
				watch(box, d)
				for !box.snapshot().timedOut {
					select {
					case <-box.wakeup:
					case <-time.After(10 * time.Second):
						assert.Fail(t, "it was not told")
						return
					}
				}
				assert.GreaterOrEqual(t, time.Since(started), d)
				box.timer.stop()
			}
		})
	}
	callers.Wait()
}

// A call with no time at all, at the very epoch, is told as any other.
func TestAlarm_AtTheEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := newCallInbox(time.Now())
		watch(box, 0)
		requireRung(t, box, 0)
	})
}

// What is said of a call that has ended does not reach the one that has its box by now.
func TestNewsBox_HearsNothingOfTheCallBefore(t *testing.T) {
	t.Parallel()
	box := newCallInbox(time.Now())
	watch(box, time.Hour)
	ends, before := box.timer.deadline.Load(), requestReport{box, box.id}
	grant := grantReport(before)
	box.timer.stop()
	watch(box, 2*time.Hour)
	defer box.timer.timer.Stop()

	before.Delivered(0, nil)
	grant.Delivered(bus.Unknown, errors.New("lost"))
	box.onDeadline(ends)
	assert.Equal(t, emptyState, box.snapshot())

	now := requestReport{box, box.id}
	now.Delivered(0, nil)
	assert.Zero(t, box.snapshot().receivers)
	box.onDeadline(box.timer.deadline.Load())
	assert.True(t, box.snapshot().timedOut)
}
