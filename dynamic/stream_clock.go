package dynamic

import (
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/clockskew"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// streamClock converts the times in the frames of a stream from the clock of the other side to the
// time since the stream was started on this side.
//
// A message that has been held up by the bus and a message from a side whose clock is slow look the
// same. The delays of earlier frames show which of the two cases applies; see [clockskew.Offset]. A
// stream knows more than that. Its frames arrive in the order in which they were sent, so a frame
// cannot be older than the time since the previous frame arrived. If it seems to be older, then the
// clock of one side has been set, or has always been wrong.
type streamClock struct {
	// offset is the estimated offset of the clock of the other side. The streams of a client share
	// the offset on the server.
	offset *clockskew.Offset
	// onSkew is called by callbacks of the bus whenever a frame shows that the clock is wrong.
	onSkew func()
	// ordered reports whether all frames come from one peer, so that they arrive in the order in
	// which they were sent. It is false on a client of a method with MULTI routing.
	ordered bool
	// sentAfter is a time after which all further frames have been sent, in nanoseconds since the
	// stream was started. The other side sends its first message after the start.
	sentAfter atomic.Int64
}

// deadline returns the time at which the sender of a frame stops waiting, as the time since the
// stream was started. now and arrived are the time of arrival, on the clock and since the start. The
// expiry in the frame must be later than the time of sending.
func (c *streamClock) deadline(frame *wire.Stream, now time.Time, arrived time.Duration) time.Duration {
	if frame.SentAt <= 0 {
		return arrived + min(time.Unix(0, frame.Expiry).Sub(now), maxTimeout)
	}
	lifetime := min(time.Duration(frame.Expiry-frame.SentAt), maxTimeout)
	age := c.age(now, time.Unix(0, frame.SentAt), arrived, lifetime)
	c.passed(arrived - age)
	return arrived + lifetime - age
}

// passed notes that all further frames have been sent after a time, which is given since the start
// of the stream.
func (c *streamClock) passed(sent time.Duration) {
	if c.ordered && int64(sent) > c.sentAfter.Load() {
		c.sentAfter.Store(int64(sent))
	}
}

// age returns how long ago a frame was sent. The result is not negative. lifetime is how long the
// sender waits.
func (c *streamClock) age(now, sent time.Time, arrived, lifetime time.Duration) time.Duration {
	delay := now.Sub(sent)
	if delay.Abs() <= clockskew.Tolerance && delay < lifetime {
		c.offset.Observe(now, delay)
		return max(delay, 0)
	}
	minimum, known := c.offset.MinDelay(now)
	minimum = min(minimum, delay)
	// A sender may wait for its turn before it sends a frame, but no longer than for the lifetime.
	oldest := arrived - time.Duration(c.sentAfter.Load()) + lifetime + clockskew.Tolerance
	switch {
	case delay < 0:
		// A frame cannot arrive before it was sent, so the clock of the other side must be fast.
		c.offset.Observe(now, delay)
	case delay-minimum > oldest:
		c.offset.Replace(now, delay)
		minimum = delay
	case known && delay-minimum < lifetime:
		c.offset.Observe(now, delay)
	case c.offset.ConfirmSuspect(now, sent, delay):
		minimum = delay
	default:
		return delay
	}
	if minimum.Abs() > clockskew.Tolerance {
		c.onSkew()
	}
	return max(delay-minimum, 0)
}
