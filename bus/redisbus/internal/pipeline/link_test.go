package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// wait simulates that commands wait for a reply for the given time, after a pause without waiting.
// It returns the new limit.
func (l *link) wait(pause, duration time.Duration, limit int) int {
	<-time.After(pause)
	l.onBlocked()
	<-time.After(duration)
	return l.onReply(limit)
}

// The limit must rise if slow waits take up at least half of the time. It must not rise because of
// single long waits, such as those of a busy server.
func TestLink_RaisesTheLimit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		pause, wait time.Duration
		want        int
	}{
		"slow link":         {0, 50 * time.Millisecond, 50},
		"half of the time":  {25 * time.Millisecond, 25 * time.Millisecond, 25},
		"very slow link":    {0, time.Second, maxInFlight},
		"just slow":         {0, slowReply, 20},
		"fast link":         {0, slowReply - 1, minInFlight},
		"single long waits": {time.Second, 100 * time.Millisecond, minInFlight},
	} {
		synctest.Test(t, func(t *testing.T) {
			l, limit := &link{}, minInFlight
			for range 10 {
				limit = l.wait(tt.pause, tt.wait, limit)
				assert.False(t, l.isBlocked())
			}
			assert.Equal(t, tt.want, limit, name)
		})
	}
}

// A raised limit must not fall because of single short waits, and must fall when the link has been
// fast for some time.
func TestLink_KeepsTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, limit := &link{}, minInFlight
		for range 2 {
			limit = l.wait(0, 60*time.Millisecond, limit)
		}
		assert.Equal(t, 60, limit)
		limit = l.wait(0, 30*time.Millisecond, limit)
		assert.Equal(t, 60, limit, "a shorter wait does not lower it")
		limit = l.wait(raisedLimitLife-time.Millisecond, time.Millisecond, limit)
		assert.Equal(t, 60, limit)
		limit = l.wait(0, time.Millisecond, limit)
		assert.Equal(t, minInFlight, limit)
	})
}

// A wait is measured from its beginning, even if onBlocked is called several times.
func TestLink_WaitsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &link{}
		assert.False(t, l.isBlocked())
		l.onBlocked()
		start := l.waitingSince
		<-time.After(time.Second)
		l.onBlocked()
		assert.Equal(t, start, l.waitingSince)
		l.reset()
		assert.False(t, l.isBlocked(), "the connection has failed")
	})
}
