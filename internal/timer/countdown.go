package timer

import (
	"sync"
	"time"
)

// countdownParts is the number of parts into which a [Countdown] divides its duration.
const countdownParts = 4

// Countdown is a timer that measures the time in which this process runs. Its duration consists of
// several equal parts, and each part has a timer of its own. While the process is paused, for
// example because its machine is suspended, only one of these timers can expire.
//
// A countdown limits how long a process waits for the answer of another one. With an ordinary
// timer, a process that was paused would find the timer expired before it has read the answer,
// which may have arrived long ago. With a countdown, the process has at least three quarters of the
// duration to read the answer.
type Countdown struct {
	f func()
	// part is the duration of a part. The last part may be slightly longer.
	part, last time.Duration

	mu    sync.Mutex
	timer *time.Timer
	// left is the number of parts that have not expired yet. It is 0 after Stop.
	left int
}

// NewCountdown starts a countdown that calls f on its own goroutine after d, unless Stop is called
// before.
func NewCountdown(d time.Duration, f func()) *Countdown {
	part := d / countdownParts
	c := &Countdown{f: f, part: part, last: d - part*(countdownParts-1), left: countdownParts}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(part, c.expirePart)
	return c
}

// Stop stops the countdown. It does not wait for a running call of the function.
func (c *Countdown) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = 0
	c.timer.Stop()
}

// expirePart is called when a part has expired. It starts the next part or calls the function.
func (c *Countdown) expirePart() {
	if c.nextPart() {
		c.f()
	}
}

// nextPart starts the next part. It reports whether the countdown has expired.
func (c *Countdown) nextPart() (expired bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == 0 {
		return false
	}
	switch c.left--; c.left {
	case 0:
		return true
	case 1:
		c.timer.Reset(c.last)
	default:
		c.timer.Reset(c.part)
	}
	return false
}
