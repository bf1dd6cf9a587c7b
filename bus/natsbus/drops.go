package natsbus

import (
	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// These are the keys of bus.Stats.DroppedBy.
const (
	// dropMalformed means that a frame is not an envelope, or that its routing key does not match
	// the private subject on which it arrived.
	dropMalformed = "MALFORMED"
	// dropMisrouted means that a queue frame arrived only at processes that do not serve its
	// routing key, although others may serve it.
	dropMisrouted = "MISROUTED"
	// dropForward means that the server denied a frame that this process forwarded, or that the
	// connection was lost.
	dropForward = "FORWARD"
	// dropSlowConsumer means that too many frames were waiting for delivery.
	dropSlowConsumer = "SLOW_CONSUMER"
)

// drop counts a frame that arrived on subject and is dropped because of err. It also emits an
// event, unless the last event with this reason was too recent.
func (b *Bus) drop(reason, subject string, err error) {
	if frames := b.drops.Add(reason, 1, logInterval); frames > 0 {
		b.events.Put(bus.Event{Kind: bus.Dropped, Channel: subject, Frames: frames, Err: err})
	}
}

// countDropped counts the messages that nats.go has dropped since the last check because too many
// were waiting for delivery. It emits an event for each affected NATS subscription. If changeMu is
// locked, countDropped returns at once, so that its callers are not blocked. The next probe calls
// it again.
func (b *Bus) countDropped() {
	if !b.changeMu.TryLock() {
		return
	}
	defer b.changeMu.Unlock()
	for _, s := range b.serverSubs {
		b.countDroppedLocked(s)
	}
}

func (b *Bus) countDroppedLocked(s *serverSub) {
	dropped, err := s.sub.Dropped()
	if err != nil || dropped == s.dropped {
		return
	}
	newlyDropped := uint64(dropped - s.dropped) //nolint:gosec // nats.go's counter only grows
	s.dropped = dropped
	b.drops.Add(dropSlowConsumer, newlyDropped, 0)
	b.events.Put(bus.Event{
		Kind: bus.Dropped, Channel: s.key.subject, Frames: newlyDropped,
		Err: errors.NewErrorf(errors.ResourceExhausted, "subject %.200s: more than %d received frames were waiting for delivery: "+
			"this process is too busy, or the limit set by WithPendingLimit is too low", s.key.subject, b.options.pendingLimit),
	})
}
