package stream

import (
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/clockskew"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// clock converts the times in received frames, which come from the other side's clock, to times
// since the start of the stream on this side. A delayed message and one from a side with a slow
// clock look the same: both seem to have been sent too long ago. The delays of earlier frames show
// which it is; see [clockskew.Offset].
//
// Except with MULTI routing, frames arrive in the order in which they were sent. If a frame seems
// to have been sent before its predecessor or before the stream started, a clock is wrong or has
// been set.
type clock struct {
	config *Config
	// sentAfter is a time before which no further frame can have been sent, in nanoseconds since
	// the start of the stream. It is 0 at first, because the other side sends its first message
	// after the start.
	sentAfter atomic.Int64
}

// deadline returns the time at which the sender of a frame stops waiting, as a duration since the
// start of the stream. now is the time of arrival on this side's clock, and arrived is the duration
// between the start of the stream and the arrival. If the frame states its send time, the frame's
// expiry must be later than that time.
func (c *clock) deadline(frame *wire.Stream, now time.Time, arrived time.Duration) time.Duration {
	if frame.SentAt <= 0 {
		return arrived + min(time.Unix(0, frame.Expiry).Sub(now), transport.MaxTimeout)
	}
	lifetime := min(time.Duration(frame.Expiry-frame.SentAt), transport.MaxTimeout)
	age := c.age(now, time.Unix(0, frame.SentAt), arrived, lifetime)
	c.passed(arrived - age)
	return arrived + lifetime - age
}

// passed records that all frames that arrive from now on were sent later than the time sent, which
// is measured from the start of the stream. If the bus does not keep the order of frames, passed
// does nothing.
func (c *clock) passed(sent time.Duration) {
	if c.config.Ordered && int64(sent) > c.sentAfter.Load() {
		c.sentAfter.Store(int64(sent))
	}
}

// age returns how long ago a frame was sent. The result is not negative. now and arrived have the
// same meaning as in the method deadline. sent is the send time that the frame states. lifetime is
// the time from then until the frame's expiry, at most transport.MaxTimeout.
func (c *clock) age(now, sent time.Time, arrived, lifetime time.Duration) time.Duration {
	offset, delay := c.config.ClockOffset, now.Sub(sent)
	if delay.Abs() <= clockskew.Tolerance && delay < lifetime {
		offset.Observe(now, delay)
		return max(delay, 0)
	}
	minimum, known := offset.MinDelay(now)
	minimum = min(minimum, delay)
	// oldest is the maximum age that the frame can have. It includes lifetime, because after
	// setting the send time in the frame, the sender may wait that long for its turn to send the
	// frame.
	oldest := arrived - time.Duration(c.sentAfter.Load()) + lifetime + clockskew.Tolerance
	switch {
	case delay < 0:
		// A frame cannot arrive before it was sent, so the other side's clock must be fast.
		offset.Observe(now, delay)
	case delay-minimum > oldest:
		offset.Replace(now, delay)
		minimum = delay
	case known && delay-minimum < lifetime:
		offset.Observe(now, delay)
	case offset.ConfirmSuspect(now, sent, delay):
		minimum = delay
	default:
		return delay
	}
	if minimum.Abs() > clockskew.Tolerance {
		c.config.OnSkew()
	}
	return max(delay-minimum, 0)
}
