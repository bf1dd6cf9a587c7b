package clockskew

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestOffset_KeepsTheMinimum(t *testing.T) {
	t.Parallel()
	var offset Offset
	now := time.Now()
	_, known := offset.MinDelay(now)
	assert.False(t, known)
	for _, delay := range []time.Duration{3 * time.Second, 2 * time.Second, time.Minute} {
		offset.Observe(now, delay)
	}
	minimum, known := offset.MinDelay(now)
	assert.True(t, known)
	assert.Equal(t, 2*time.Second, minimum)
	offset.Observe(now, -time.Second)
	minimum, _ = offset.MinDelay(now)
	assert.Equal(t, -time.Second, minimum)
}

// A minimum must be forgotten when two windows have passed since it was observed. A larger delay
// then becomes the minimum.
func TestOffset_MinimumRisesAfterTwoWindows(t *testing.T) {
	t.Parallel()
	var offset Offset
	start := time.Now()
	offset.Observe(start, time.Second)
	offset.Observe(start.Add(windowSize), time.Minute)
	minimum, known := offset.MinDelay(start.Add(windowSize))
	assert.True(t, known)
	assert.Equal(t, time.Second, minimum)
	minimum, known = offset.MinDelay(start.Add(2 * windowSize))
	assert.True(t, known)
	assert.Equal(t, time.Minute, minimum)
}

// When a window has just ended, every call to MinDelay must return the minimum of that window, not
// only the first call.
func TestOffset_EndOfWindowKeepsTheMinimum(t *testing.T) {
	t.Parallel()
	var offset Offset
	start := time.Now()
	offset.Observe(start, time.Hour)
	for range 3 {
		minimum, known := offset.MinDelay(start.Add(windowSize))
		assert.True(t, known)
		assert.Equal(t, time.Hour, minimum)
	}
	_, known := offset.MinDelay(start.Add(2 * windowSize))
	assert.False(t, known, "the window is too old")
}

func TestOffset_ObservesAfterTheLocalClockWasSetBack(t *testing.T) {
	t.Parallel()
	var offset Offset
	start := time.Now()
	offset.Observe(start, time.Hour)
	// The next line simulates a local clock that was one hour ahead when the end of the window was
	// stored.
	offset.publishedUntil.Store(start.Add(time.Hour).UnixNano())
	end := start.Add(windowSize)
	offset.MinDelay(end)
	offset.Observe(end, time.Hour)
	_, known := offset.MinDelay(end.Add(windowSize))
	assert.True(t, known)
}

func TestOffset_ConfirmSuspect(t *testing.T) {
	t.Parallel()
	type frame struct {
		sent, delay time.Duration // sent is the time since the first frame was sent
		confirms    bool
	}
	const slow = time.Hour
	for name, frames := range map[string][]frame{
		"same delay":             {{0, slow, false}, {minSuspectInterval, slow, true}},
		"nearly the same delay":  {{0, slow, false}, {time.Second, slow + suspectTolerance, true}},
		"sent too soon":          {{0, slow, false}, {minSuspectInterval - 1, slow, false}, {minSuspectInterval, slow, true}},
		"another delay":          {{0, slow, false}, {time.Second, slow - suspectTolerance - 1, false}},
		"the other delay again":  {{0, slow, false}, {time.Second, slow / 2, false}, {2 * time.Second, slow / 2, true}},
		"sent before":            {{0, slow, false}, {-time.Second, slow, false}, {0, slow, true}},
		"held up by the bus":     {{0, slow, false}, {time.Second, slow - time.Second, false}, {2 * time.Second, slow - 2*time.Second, false}},
		"confirmed, then starts": {{0, slow, false}, {time.Second, slow, true}, {2 * time.Second, slow, false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var offset Offset
			start := time.Now()
			for i, frame := range frames {
				sent := start.Add(frame.sent)
				now := sent.Add(frame.delay)
				assert.Equal(t, frame.confirms, offset.ConfirmSuspect(now, sent, frame.delay), "frame %d", i)
				if frame.confirms {
					minimum, known := offset.MinDelay(now)
					assert.True(t, known)
					assert.Equal(t, frame.delay, minimum)
				}
			}
		})
	}
}

// If a suspected clock skew is confirmed, its delay must become the minimum, even if a smaller
// delay has been observed before.
func TestOffset_ConfirmedSuspectReplacesTheMinimum(t *testing.T) {
	t.Parallel()
	var offset Offset
	now := time.Now()
	offset.Observe(now, time.Millisecond)
	offset.ConfirmSuspect(now, now.Add(-time.Hour), time.Hour)
	assert.True(t, offset.ConfirmSuspect(now.Add(time.Second), now.Add(time.Second-time.Hour), time.Hour))
	minimum, _ := offset.MinDelay(now.Add(time.Second))
	assert.Equal(t, time.Hour, minimum)
}

func TestOffset_FirstWarning(t *testing.T) {
	t.Parallel()
	var offset Offset
	assert.True(t, offset.FirstWarning())
	assert.False(t, offset.FirstWarning())
}

func TestOffset_Replace(t *testing.T) {
	t.Parallel()
	var offset Offset
	now := time.Now()
	offset.Observe(now, time.Millisecond)
	offset.Replace(now, time.Hour)
	minimum, known := offset.MinDelay(now)
	assert.True(t, known)
	assert.Equal(t, time.Hour, minimum)
	offset.Observe(now, time.Minute)
	minimum, _ = offset.MinDelay(now)
	assert.Equal(t, time.Minute, minimum, "a fresh frame shows that the clock was set back")
}
