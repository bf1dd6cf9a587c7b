package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/clockskew"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// testClock is the clock of a stream that started at the time epoch. skewed is the number of calls
// to Config.OnSkew.
type testClock struct {
	clock

	skewed int
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// validity is how long a message is valid after it has been sent.
const validity = 3 * time.Second

func newTestClock(ordered bool) *testClock {
	c := &testClock{}
	c.config = &Config{ClockOffset: new(clockskew.Offset), Ordered: ordered, OnSkew: func() { c.skewed++ }}
	return c
}

// remaining returns how long a message that arrives at the time arrived is still valid. transit is
// how long the message was in transit, and skew is by how much its sender's clock is fast.
func (c *testClock) remaining(arrived, transit, skew time.Duration) time.Duration {
	now := epoch.Add(arrived)
	sentAt := now.Add(skew - transit)
	frame := wire.Stream{SentAt: sentAt.UnixNano(), Expiry: sentAt.Add(validity).UnixNano()}
	return c.deadline(&frame, now, arrived) - arrived
}

func TestClock_RightClock(t *testing.T) {
	t.Parallel()
	c := newTestClock(true)
	assert.Equal(t, validity-time.Millisecond, c.remaining(time.Second, time.Millisecond, 0))
	held := c.remaining(4*time.Second, 2*time.Second, 0)
	assert.InDelta(t, time.Second, held, float64(10*time.Millisecond), "a message was held up")
	assert.LessOrEqual(t, c.remaining(9*time.Second, 4*time.Second, 0), time.Duration(0), "a message has expired")
	assert.Zero(t, c.skewed)
}

// Messages of a side whose clock is wrong by an hour are valid for about as long as others.
func TestClock_WrongClock(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{time.Hour, -time.Hour} {
		for _, ordered := range []bool{true, false} {
			c := newTestClock(ordered)
			c.remaining(time.Second, time.Millisecond, skew)
			for i := range 5 {
				remaining := c.remaining(time.Duration(i+2)*time.Second, time.Millisecond, skew)
				assert.InDelta(t, validity, remaining, float64(10*time.Millisecond), "skew %v, ordered %v", skew, ordered)
			}
			assert.Positive(t, c.skewed)
			held := c.remaining(20*time.Second, 2*time.Second, skew)
			assert.InDelta(t, time.Second, held, float64(10*time.Millisecond), "a message was held up")
		}
	}
}

// A frame that arrives after an acknowledgement was sent later than the acknowledged message. If it
// seems to have been sent earlier, its sender's clock must be slow.
func TestClock_SentAfterAnAcknowledgedMessage(t *testing.T) {
	t.Parallel()
	c := newTestClock(true)
	c.passed(time.Minute)
	assert.Equal(t, validity, c.remaining(time.Minute+time.Second, 0, -10*time.Second))
	assert.Equal(t, 1, c.skewed)

	unordered := newTestClock(false)
	unordered.passed(time.Minute)
	assert.Zero(t, unordered.sentAfter.Load())
}

// Frames that do not state their send time are valid until their expiry, and no frame is valid for
// longer than transport.MaxTimeout.
func TestClock_NoTimeOfSending(t *testing.T) {
	t.Parallel()
	c := newTestClock(true)
	frame := wire.Stream{Expiry: epoch.Add(time.Minute).UnixNano()}
	assert.Equal(t, time.Minute, c.deadline(&frame, epoch, 0))
	frame.Expiry = 1<<63 - 1
	assert.Equal(t, transport.MaxTimeout, c.deadline(&frame, epoch, 0))
	frame.SentAt = 1
	assert.LessOrEqual(t, c.deadline(&frame, epoch, 0), transport.MaxTimeout)
}
