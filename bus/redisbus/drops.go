package redisbus

import (
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
)

const (
	// dropEventInterval is the minimum time between two Dropped events about queue frames that were
	// lost for the same reason.
	dropEventInterval = 5 * time.Second
	// maxDropReasons is the maximum number of reasons for which lost frames are counted separately.
	maxDropReasons = 32
	// otherDrops stands for all further reasons once maxDropReasons reasons are counted.
	otherDrops = "other"
)

// drops counts, for each reason, the queue frames that were lost because the attempt to lock them
// failed with an error.
type drops struct {
	mu      sync.Mutex
	reasons map[string]*dropReason
}

// dropReason counts the frames that were lost for one reason.
type dropReason struct {
	frames uint64
	events logthrottle.Throttle
}

// byReason returns the number of frames by reason, or nil if there are none.
func (d *drops) byReason() map[string]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var frames map[string]uint64
	for reason, drop := range d.reasons {
		if frames == nil {
			frames = map[string]uint64{}
		}
		frames[reason] = drop.frames
	}
	return frames
}

// add counts a frame. It returns the number of frames that the next event must report, or zero if
// the last event with this reason was too recent.
func (d *drops) add(reason string) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reasons == nil {
		d.reasons = map[string]*dropReason{}
	}
	if d.reasons[reason] == nil && len(d.reasons) >= maxDropReasons {
		reason = otherDrops
	}
	drop := d.reasons[reason]
	if drop == nil {
		drop = &dropReason{}
		d.reasons[reason] = drop
	}
	drop.frames++
	unreported, _ := drop.events.Allow(dropEventInterval)
	return unreported
}

// dropQueueFrame counts a queue frame that this process failed to lock. It also emits an event with
// the cause, unless the last event with this reason was too recent.
func (b *Bus) dropQueueFrame(channel string, cause error) {
	b.dropped.Add(1)
	if b.ctx.Err() != nil {
		return // the frames of a bus that is being closed are expected to be lost
	}
	if frames := b.drops.add(dropReasonOf(cause)); frames > 0 {
		err := channelError("take the lock on a queue frame of", channel, cause)
		b.events.Put(bus.Event{Kind: bus.Dropped, Channel: channel, Frames: frames, Err: err})
	}
}

// dropReasonOf returns the name under which frames that were lost because of err are counted. For
// an error reply from Redis, it is the code at the beginning of the reply, such as OOM.
func dropReasonOf(err error) string {
	switch {
	case isRedisError(err):
		return replyCode(err)
	case errors.Is(err, errFull):
		return "QUEUE_FULL"
	}
	return "CONNECTION"
}
