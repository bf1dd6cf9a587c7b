package timer

import (
	"sync"
	"time"
)

const (
	// countdownParts is the number of parts into which a [Countdown] divides its duration.
	countdownParts = 4
	// maxDelay is the longest delay with which a timer expires while the process runs normally.
	maxDelay = 20 * time.Millisecond
)

// Countdown is a timer that measures the time in which this process runs. Its duration consists of
// several equal parts, and each part has a timer of its own. If the timer of a part expires late,
// the process could not run, for example because it was stopped or got no CPU time. The part is then
// repeated, but only once, so that a countdown on a busy machine ends after at most twice its
// duration.
//
// A countdown limits how long a process waits for the answer of another one. With an ordinary
// timer, a process that was paused would find the timer expired before it has read the answer,
// which may have arrived long ago. With a countdown, the process has at least a quarter of the
// duration to read the answer.
type Countdown struct {
	f func()
	// part is the duration of a part. The last part may be slightly longer.
	part, last time.Duration

	mu    sync.Mutex
	timer *time.Timer
	// left is the number of parts that have not expired yet. It is 0 after Stop.
	left int
	// due is the time at which the current part should expire. repeated reports whether the part
	// has been repeated.
	due      time.Time
	repeated bool
}

// NewCountdown starts a countdown that calls f on its own goroutine after d, unless Stop is called
// before.
func NewCountdown(d time.Duration, f func()) *Countdown {
	part := d / countdownParts
	c := &Countdown{f: f, part: part, last: d - part*(countdownParts-1), left: countdownParts}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(c.startPart(), c.expirePart)
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

// nextPart starts the next part, or repeats the current one if it has expired late. It reports
// whether the countdown has expired.
func (c *Countdown) nextPart() (expired bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == 0 {
		return false
	}
	c.repeated = !c.repeated && time.Since(c.due) > maxDelay
	if !c.repeated {
		c.left--
	}
	if c.left == 0 {
		return true
	}
	c.timer.Reset(c.startPart())
	return false
}

// startPart sets the time at which the current part should expire, and returns its duration.
func (c *Countdown) startPart() time.Duration {
	d := c.part
	if c.left == 1 {
		d = c.last
	}
	c.due = time.Now().Add(d)
	return d
}
