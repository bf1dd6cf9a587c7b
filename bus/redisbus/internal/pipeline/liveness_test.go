package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// after simulates a check after the given time.
func (l *liveness) after(pause time.Duration, idle bool) verdict {
	<-time.After(pause)
	now := time.Now()
	l.resume(now)
	l.schedule()
	return l.check(now, idle)
}

// A connection must be given up if Redis has not replied for one and a half intervals, unless no
// command was unanswered or the process was suspended.
func TestLiveness(t *testing.T) {
	t.Parallel()
	const interval = 4 * time.Second
	type step struct {
		seconds int
		replies int
		idle    bool
		want    verdict
	}
	for name, steps := range map[string][]step{
		"idle":            {{2, 0, true, alive}, {2, 0, true, alive}, {2, 0, true, alive}, {2, 0, true, alive}},
		"no reply at all": {{2, 0, false, silent}, {2, 0, false, silent}, {2, 0, false, dead}},
		"replies":         {{2, 1, false, alive}, {2, 0, false, silent}, {2, 0, false, silent}, {2, 3, false, alive}, {2, 0, false, silent}},
		"idle, then none": {{2, 0, true, alive}, {2, 0, false, silent}, {2, 0, false, silent}, {2, 0, false, dead}},
		"suspended":       {{2, 0, false, silent}, {3600, 0, false, silent}, {2, 0, false, silent}, {2, 0, false, silent}, {2, 0, false, dead}},
		"a late check":    {{3, 0, false, silent}, {3, 0, false, dead}},
		"early checks":    {{1, 0, false, silent}, {1, 0, false, silent}, {1, 0, false, silent}, {2, 0, false, silent}, {1, 0, false, dead}},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &liveness{interval: interval, lastProgress: time.Now()}
			l.schedule()
			for i, s := range steps {
				l.replies += s.replies
				assert.Equal(t, s.want, l.after(time.Duration(s.seconds)*time.Second, s.idle), "%s, step %d", name, i)
			}
		})
	}
}

func TestLiveness_DrainDeadline(t *testing.T) {
	t.Parallel()
	l := &liveness{interval: 4 * time.Second}
	now := time.Now()
	assert.Equal(t, now.Add(4*time.Second), l.drainDeadline(now))
	assert.Equal(t, now.Add(4*time.Second), l.drainDeadline(now.Add(time.Second)), "it is set once")
}
