package redisbus

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// dropEventInterval is the minimum time between two Dropped events about queue frames that were
// lost for the same reason.
const dropEventInterval = 5 * time.Second

// dropQueueFrame counts a queue frame that this process failed to lock. It also emits an event with
// the cause, unless the last event with this reason was too recent.
func (b *Bus) dropQueueFrame(channel string, cause error) {
	frames := b.drops.Add(dropReasonOf(cause), 1, dropEventInterval)
	// The frames of a bus that is being closed are expected to be lost.
	if frames > 0 && b.ctx.Err() == nil {
		err := channelError("take the lock on a queue frame of", channel, cause)
		b.events.Put(bus.Event{Kind: bus.Dropped, Channel: channel, Frames: frames, Err: err})
	}
}

// dropReasonOf returns the reason under which the bus counts frames that were lost because of err.
// For an error reply from Redis, it is the code at the beginning of the reply, such as OOM.
func dropReasonOf(err error) string {
	switch {
	case isRedisError(err):
		return replyCode(err)
	case errors.Is(err, errFull):
		return "QUEUE_FULL"
	}
	return "CONNECTION"
}
