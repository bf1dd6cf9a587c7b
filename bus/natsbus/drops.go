package natsbus

import (
	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// countDropped asks nats.go how many frames it dropped because too many were waiting. If that would have to wait it
// leaves it to the next time.
func (b *Bus) countDropped() {
	if !b.changeMu.TryLock() {
		return
	}
	defer b.changeMu.Unlock()
	for key, r := range b.serverSubs {
		b.countDroppedLocked(key, r)
	}
}

func (b *Bus) countDroppedLocked(key subKey, r *serverSub) {
	dropped, err := r.sub.Dropped()
	if err != nil || dropped == r.dropped {
		return
	}
	newlyDropped := uint64(dropped - r.dropped) //nolint:gosec // it only grows
	r.dropped = dropped
	b.dropped.Add(newlyDropped)
	b.events.Put(bus.Event{
		Kind: bus.Dropped, Channel: key.subject, Frames: newlyDropped,
		Err: errors.NewErrorf(errors.ResourceExhausted, "more than %d frames were waiting for this process: it is too busy to "+
			"take them, or the limit set by WithPendingLimit too small", b.options.pendingLimit),
	})
}
