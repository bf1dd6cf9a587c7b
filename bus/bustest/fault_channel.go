package bustest

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// faultFrame is a frame on its way through a FaultBus.
type faultFrame struct {
	channel bus.Channel
	frame   []byte
	report  bus.DeliveryReport
	// duplicate is a copy of frame if the frame is to be published twice. A copy is needed because
	// the bus owns the frame once it has been published.
	duplicate []byte
	// number is the number of the frame on its channel, or zero if Faults.Match has not selected
	// it.
	number uint64
	// due is the time at which a delayed frame is published.
	due time.Time
}

// publish publishes the frame, and its duplicate if there is one.
func (f *faultFrame) publish(ctx context.Context, b bus.Bus) error {
	err := b.Publish(ctx, f.channel, f.frame, f.report)
	if err == nil && f.duplicate != nil {
		_ = b.Publish(ctx, f.channel, f.duplicate, nil) // losing a duplicate does no harm
	}
	return err
}

// faultChannel holds the delayed frames of a channel. The mutex of the FaultBus guards it.
type faultChannel struct {
	plan faultPlan
	// queue contains the delayed frames in the order in which they will be published.
	queue []*faultFrame
	// holdsLast reports whether the last frame in queue waits for the next frame to overtake it.
	holdsLast bool
	// isFlushing reports whether a goroutine is publishing frames from queue.
	isFlushing bool
	// timer calls flush when the first frame in queue is due.
	timer *time.Timer
}

// isIdle reports whether no earlier frame of the channel remains to be published.
func (c *faultChannel) isIdle() bool { return len(c.queue) == 0 && !c.isFlushing }

// add adds f to the queue. If the last frame of the queue waits to be overtaken, f overtakes it,
// and add returns the overtaken frame. Otherwise, if isReordered is set, f itself waits to be
// overtaken by the next frame.
func (c *faultChannel) add(f *faultFrame, isReordered bool) (overtaken *faultFrame) {
	last := len(c.queue) - 1
	if c.holdsLast && last >= 0 {
		overtaken = c.queue[last]
		c.queue = c.queue[:last]
		last--
	}
	if last >= 0 && f.due.Before(c.queue[last].due) {
		f.due = c.queue[last].due // f must not overtake the last frame
	}
	c.queue = append(c.queue, f)
	c.holdsLast = isReordered && overtaken == nil
	switch {
	case overtaken != nil:
		overtaken.due = f.due
		c.queue = append(c.queue, overtaken)
	case c.holdsLast:
		f.due = f.due.Add(MaxReorderDelay)
	}
	return overtaken
}
