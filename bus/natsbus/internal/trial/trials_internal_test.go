package trial

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// testFrame is an unserved frame.
type testFrame struct {
	subject    string
	membership Membership
}

func (f *testFrame) Key() Key                { return Key{Subject: f.subject, RoutingKey: "Method.REQ"} }
func (f *testFrame) Size() int               { return 10 }
func (f *testFrame) Membership() *Membership { return &f.membership }

func frame() *testFrame { return &testFrame{subject: "SRV.Svc.Q"} }

func ignore(*testFrame) {}

// beginTrial adds the given number of frames to a trial and returns them. It requires that all of
// them return to the queue group.
func beginTrial(t *testing.T, trials *Trials[*testFrame], frames int) (tried []*testFrame) {
	t.Helper()
	for range frames {
		f := frame()
		assert.Equal(t, Return, trials.Decide(f, ignore))
		assert.NotNil(t, f.membership.trial)
		tried = append(tried, f)
	}
	return tried
}

// If all frames of a trial come back, the frames that are waiting for its result must be dropped,
// and so must later frames.
func TestTrials_NoProcessServes(t *testing.T) {
	t.Parallel()
	trials, waiting := New[*testFrame](Timeout), frame()
	tried := beginTrial(t, trials, Frames)
	assert.Equal(t, Wait, trials.Decide(waiting, nil))
	for i, f := range tried {
		served, unserved := trials.CameBack(f)
		assert.False(t, served)
		assert.Equal(t, i == Frames-1, len(unserved) > 0)
	}
	assert.Equal(t, Drop, trials.Decide(frame(), nil))
	assert.Zero(t, trials.waiting+trials.waitingBytes)

	// After a failed trial, one frame is enough for the next one.
	trials.state(waiting.Key()).validUntil = time.Time{}
	again := beginTrial(t, trials, 1)
	assert.Equal(t, Wait, trials.Decide(frame(), nil))
	trials.CameBack(again[0])
	assert.Equal(t, Drop, trials.Decide(frame(), nil))
	assert.Equal(t, 2, trials.state(waiting.Key()).failures)
}

// If one frame of a trial does not come back, the frames that are waiting for the result must
// return to the queue group.
func TestTrials_AnotherProcessServes(t *testing.T) {
	t.Parallel()
	trials, waiting := New[*testFrame](Timeout), frame()
	tried := beginTrial(t, trials, Frames)
	assert.Equal(t, Wait, trials.Decide(waiting, nil))
	for _, f := range tried[1:] {
		trials.CameBack(f)
	}
	assert.Equal(t, []*testFrame{waiting}, trials.Succeed(tried[0]))
	next := frame()
	assert.Equal(t, Return, trials.Decide(next, nil))
	served, _ := trials.CameBack(next)
	assert.True(t, served, "this frame did not reach the process by chance")

	// After a successful trial, no frames wait for the result of the next one.
	trials.state(waiting.Key()).validUntil = time.Time{}
	beginTrial(t, trials, Frames)
	assert.Equal(t, Return, trials.Decide(frame(), nil))
}

// If a trial was considered successful but all of its frames come back late, the result must be
// corrected.
func TestTrials_FramesComeBackLate(t *testing.T) {
	t.Parallel()
	for _, frames := range []int{1, Frames} {
		trials := New[*testFrame](Timeout)
		tried := beginTrial(t, trials, frames)
		for _, f := range tried {
			trials.Succeed(f)
		}
		assert.Equal(t, Return, trials.Decide(frame(), nil))
		for _, f := range tried {
			trials.CameBack(f)
		}
		if frames == Frames {
			assert.Equal(t, Drop, trials.Decide(frame(), nil))
		} else {
			beginTrial(t, trials, Frames-frames)
		}
	}
}

// The numbers of waiting frames and of stored routing keys must be limited, because peers choose
// what they send.
func TestTrials_AreBounded(t *testing.T) {
	t.Parallel()
	trials := New[*testFrame](Timeout)
	beginTrial(t, trials, Frames)
	for range maxWaiting {
		assert.Equal(t, Wait, trials.Decide(frame(), nil))
	}
	assert.Equal(t, Drop, trials.Decide(frame(), nil))
	for i := range 2 * maxKeys {
		trials.Decide(&testFrame{subject: string(rune(i))}, ignore)
	}
	assert.LessOrEqual(t, len(trials.keys), maxKeys)
}

// onTimeout must be called for a frame that does not come back, but not for a frame that comes back
// in time.
func TestTrials_Timeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		trials, late := New[*testFrame](Timeout), make(chan *testFrame, Frames)
		taken, returned := frame(), frame()
		trials.Decide(taken, func(f *testFrame) { late <- f })
		trials.Decide(returned, func(f *testFrame) { late <- f })
		trials.CameBack(returned)
		<-time.After(Timeout)
		synctest.Wait()
		assert.Len(t, late, 1)
		assert.Same(t, taken, <-late)
	})
}
