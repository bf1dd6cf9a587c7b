package redisbus

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/pipeline"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// dropEventInterval is the minimum time between two Dropped events about queue frames that were
// lost for the same reason.
const dropEventInterval = 5 * time.Second

// dropQueueFrame counts a queue frame that this process failed to lock. It also emits an event with
// the cause, but at most one per reason in dropEventInterval.
func (b *core) dropQueueFrame(channel string, cause error) {
	frames := b.counters.Drops.Add(dropReasonOf(cause), 1, dropEventInterval)
	// The frames of a bus that is being closed are expected to be lost.
	if frames > 0 && b.ctx.Err() == nil {
		err := channelError("take the lock on a queue frame of", channel, cause)
		b.events.Dropped(channel, frames, err)
	}
}

// dropReasonOf returns the reason under which the bus counts frames that were lost because of err.
// For an error reply from Redis, the reason is the code at the beginning of the reply, such as OOM.
func dropReasonOf(err error) string {
	switch {
	case resp.IsError(err):
		return resp.ErrorCode(err)
	case errors.Is(err, pipeline.ErrFull):
		return "QUEUE_FULL"
	}
	return "CONNECTION"
}
