package natsbus

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func frame() *misrouted { return &misrouted{subject: "SRV.Svc.Q", key: "Method.REQ", size: 10} }

func newUnserved() *unserved { return &unserved{keys: map[queueKey]*unservedKey{}} }

// beginTrial adds the given number of frames to a trial and returns them. It requires that all of
// them return to the queue group.
func beginTrial(t *testing.T, u *unserved, frames int) (tried []*misrouted) {
	t.Helper()
	for range frames {
		f := frame()
		assert.Equal(t, returnFrame, u.decide(f, func(*misrouted) {}))
		assert.NotNil(t, f.trial)
		tried = append(tried, f)
	}
	return tried
}

// If all frames of a trial come back, the frames that are waiting for its result must be dropped,
// and so must later frames.
func TestUnserved_NobodyServes(t *testing.T) {
	t.Parallel()
	u, waiting := newUnserved(), frame()
	tried := beginTrial(t, u, trialFrames)
	assert.Equal(t, wait, u.decide(waiting, nil))
	for i, f := range tried {
		served, dropped := u.cameBack(f)
		assert.False(t, served)
		assert.Equal(t, i == trialFrames-1, len(dropped) > 0)
	}
	assert.Equal(t, dropFrame, u.decide(frame(), nil))
	assert.Zero(t, u.waiting+u.waitingBytes)

	// After a failed trial, one frame is enough for the next one.
	u.key(waiting).validUntil = time.Time{}
	again := beginTrial(t, u, 1)
	assert.Equal(t, wait, u.decide(frame(), nil))
	u.cameBack(again[0])
	assert.Equal(t, dropFrame, u.decide(frame(), nil))
	assert.Equal(t, 2, u.key(waiting).failures)
}

// If one frame of a trial does not come back, the frames that are waiting for the result must
// return to the queue group.
func TestUnserved_SomebodyServes(t *testing.T) {
	t.Parallel()
	u, waiting := newUnserved(), frame()
	tried := beginTrial(t, u, trialFrames)
	assert.Equal(t, wait, u.decide(waiting, nil))
	for _, f := range tried[1:] {
		u.cameBack(f)
	}
	assert.Equal(t, []*misrouted{waiting}, u.succeed(tried[0]))
	next := frame()
	assert.Equal(t, returnFrame, u.decide(next, nil))
	served, _ := u.cameBack(next)
	assert.True(t, served, "this frame did not reach the process by chance")

	// After a successful trial, no frames wait for the result of the next one.
	u.key(waiting).validUntil = time.Time{}
	beginTrial(t, u, trialFrames)
	assert.Equal(t, returnFrame, u.decide(frame(), nil))
}

// If a trial was considered successful but all of its frames come back late, the result must be
// corrected.
func TestUnserved_FramesComeBackLate(t *testing.T) {
	t.Parallel()
	for _, frames := range []int{1, trialFrames} {
		u := newUnserved()
		tried := beginTrial(t, u, frames)
		for _, f := range tried {
			u.succeed(f)
		}
		assert.Equal(t, returnFrame, u.decide(frame(), nil))
		for _, f := range tried {
			u.cameBack(f)
		}
		if frames == trialFrames {
			assert.Equal(t, dropFrame, u.decide(frame(), nil))
		} else {
			beginTrial(t, u, trialFrames-frames)
		}
	}
}

// The numbers of waiting frames and of stored routing keys must be limited, because peers choose
// what they send.
func TestUnserved_IsBounded(t *testing.T) {
	t.Parallel()
	u := newUnserved()
	beginTrial(t, u, trialFrames)
	for range maxWaiting {
		assert.Equal(t, wait, u.decide(frame(), nil))
	}
	assert.Equal(t, dropFrame, u.decide(frame(), nil))
	for i := range 2 * maxUnservedKeys {
		f := frame()
		f.subject = string(rune(i))
		u.decide(f, func(*misrouted) {})
	}
	assert.LessOrEqual(t, len(u.keys), maxUnservedKeys)
}
