package natsbus

import (
	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// countDropped counts the messages that nats.go has dropped since the last check because too many
// were waiting for delivery. It emits an event for each affected NATS subscription. If changeMu is
// locked, countDropped returns at once and leaves the check to the next probe.
func (b *Bus) countDropped() {
	if !b.changeMu.TryLock() {
		return
	}
	defer b.changeMu.Unlock()
	for key, s := range b.serverSubs {
		b.countDroppedLocked(key, s)
	}
}

func (b *Bus) countDroppedLocked(key subKey, s *serverSub) {
	dropped, err := s.sub.Dropped()
	if err != nil || dropped == s.dropped {
		return
	}
	newlyDropped := uint64(dropped - s.dropped) //nolint:gosec // nats.go's counter only grows
	s.dropped = dropped
	b.dropped.Add(newlyDropped)
	b.events.Put(bus.Event{
		Kind: bus.Dropped, Channel: key.subject, Frames: newlyDropped,
		Err: errors.NewErrorf(errors.ResourceExhausted, "subject %.200s: more than %d received frames were waiting for delivery: "+
			"this process is too busy, or the limit set by WithPendingLimit is too low", key.subject, b.options.pendingLimit),
	})
}
