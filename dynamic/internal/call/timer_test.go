package call

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// startCall starts a call that uses the inbox and times out after d.
func startCall(inbox *callInbox, d time.Duration) {
	inbox.clear()
	inbox.assign(id.NewRequest())
	inbox.timer.start(time.Now(), d)
}

// requireFires waits until the call times out, and checks that it does so at the right time.
func requireFires(t *testing.T, inbox *callInbox, after time.Duration) {
	t.Helper()
	started := time.Now()
	<-inbox.wakeup
	assert.Equal(t, after, time.Since(started))
	assert.True(t, inbox.snapshot().timedOut)
}

func TestCallTimer_FiresAtEachDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inbox := newCallInbox(time.Now())
		startCall(inbox, time.Second)
		requireFires(t, inbox, time.Second)

		startCall(inbox, time.Minute)
		inbox.timer.stop()
		// The deadline is earlier than the one for which the timer is set.
		startCall(inbox, time.Second)
		requireFires(t, inbox, time.Second)
		// The deadline is later than the one for which the timer is set.
		startCall(inbox, 2*time.Hour)
		requireFires(t, inbox, 2*time.Hour)
	})
}

func TestCallTimer_KeepsRunningForTheNextCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inbox := newCallInbox(time.Now())
		startCall(inbox, 3*time.Second)
		<-time.After(time.Second)
		inbox.timer.stop()
		startCall(inbox, 3*time.Second) // uses the timer that the first call has set
		requireFires(t, inbox, 3*time.Second)

		startCall(inbox, time.Second)
		inbox.timer.stop()
		<-time.After(time.Minute) // the timer expires while no call is running
		assert.False(t, inbox.timer.armed.Load())
		startCall(inbox, time.Second)
		requireFires(t, inbox, time.Second)
	})
}

// A call with a long timeout that ends early does not keep the timer running. The next call with a
// long timeout still ends in time.
func TestCallTimer_LongTimeouts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inbox := newCallInbox(time.Now())
		startCall(inbox, transport.MaxTimeout)
		<-time.After(time.Hour)
		inbox.timer.stop()
		<-time.After(time.Minute)
		synctest.Wait()
		assert.False(t, inbox.timer.armed.Load())
		startCall(inbox, time.Hour)
		requireFires(t, inbox, time.Hour)
	})
}

// A call may start while the timer expires for the previous call. The new call must end, but not
// before its own deadline.
func TestCallTimer_StartWhileFiring(t *testing.T) {
	t.Parallel()
	var callers sync.WaitGroup
	for range 2 {
		callers.Go(func() {
			inbox := newCallInbox(time.Now())
			for range 500 {
				quit := time.Now().Add(rand.N(20 * time.Microsecond))
				startCall(inbox, 10*time.Microsecond)
				// This loop does not sleep, so that the next call can start at any moment.
				for time.Now().Before(quit) {
				}
				inbox.timer.stop()

				started, d := time.Now(), rand.N(100*time.Microsecond)
				startCall(inbox, d)
				for !inbox.snapshot().timedOut {
					select {
					case <-inbox.wakeup:
					case <-time.After(10 * time.Second):
						assert.Fail(t, "the timer did not fire")
						return
					}
				}
				assert.GreaterOrEqual(t, time.Since(started), d)
				inbox.timer.stop()
			}
		})
	}
	callers.Wait()
}

// A deadline at the epoch of the timer is valid. It is stored as 0, which must not be mistaken for
// noDeadline.
func TestCallTimer_AtTheEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inbox := newCallInbox(time.Now())
		startCall(inbox, 0)
		requireFires(t, inbox, 0)
	})
}

// Delivery reports and deadlines of a call that has ended do not affect the next call that uses
// the same inbox.
func TestCallInbox_IgnoresReportsForTheCallBefore(t *testing.T) {
	t.Parallel()
	inbox := newCallInbox(time.Now())
	startCall(inbox, time.Hour)
	deadline, before := inbox.timer.deadline.Load(), requestReport{inbox, inbox.id}
	grant := grantReport(before)
	inbox.timer.stop()
	startCall(inbox, 2*time.Hour)
	defer inbox.timer.timer.Stop()

	before.Delivered(0, nil)
	grant.Delivered(bus.Unknown, errors.New("lost"))
	inbox.onDeadline(deadline)
	assert.Equal(t, emptyState, inbox.snapshot())

	now := requestReport{inbox, inbox.id}
	now.Delivered(0, nil)
	assert.Zero(t, inbox.snapshot().receivers)
	inbox.onDeadline(inbox.timer.deadline.Load())
	assert.True(t, inbox.snapshot().timedOut)
}
