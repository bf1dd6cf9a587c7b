package clockskew

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Requests of a client whose clock is off may come together when a window ends: all of them know what it taught.
func TestPeerClock_WindowEndsOnce(t *testing.T) {
	t.Parallel()
	var clock Offset
	start := time.Now()
	clock.Observe(start, time.Hour)
	for range 3 {
		least, known := clock.MinDelay(start.Add(windowSize))
		assert.True(t, known)
		assert.Equal(t, time.Hour, least)
	}
	_, known := clock.MinDelay(start.Add(2 * windowSize))
	assert.False(t, known, "it is too old")
}

// A server's clock that is set back does not keep it from learning.
func TestPeerClock_LearnsAfterTheServersClockWasSetBack(t *testing.T) {
	t.Parallel()
	var clock Offset
	start := time.Now()
	clock.Observe(start, time.Hour)
	clock.publishedUntil.Store(start.Add(time.Hour).UnixNano()) // by the clock that was set back
	end := start.Add(windowSize)
	clock.MinDelay(end)
	clock.Observe(end, time.Hour)
	_, known := clock.MinDelay(end.Add(windowSize))
	assert.True(t, known)
}
