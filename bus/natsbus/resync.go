package natsbus

// A stale subscription is one that exists on the server but no longer in nats.go. It can appear if
// nats.go reconnects while removing a subscription, because nats.go may send the SUB again just
// before it forgets the subscription. The server would keep sending some of a queue's frames to the
// stale subscription, where they would be lost. It would also not report that the subject has no
// responders. To remove a stale subscription, the bus reconnects once more. nats.go then sends only
// the subscriptions that it still has, and the server forgets all others.

// watchClosed installs a handler that nats.go calls when it removes the subscription s. The handler
// stores how often the connection has reconnected so far. The method checkStale compares this
// number with the number at the start of the drain of s.
func watchClosed(s *serverSub) {
	nc := s.nc
	// nats.go calls the handler while holding its mutex, so calling nc.Stats would deadlock.
	s.sub.SetClosedHandler(func(string) { s.closeReconnects.Store(nc.Reconnects) })
}

// checkStale unsubscribes s, in case nats.go has not removed the subscription yet. If s may have
// become stale, checkStale sets b.stale, so that dropStale forces a reconnect. checkStale is called
// after the flush that follows the start of a drain, and after a failed Subscribe.
//
// s may be stale if nats.go reconnected between the start of the drain and the moment when nats.go
// removed the subscription. A removal by checkStale itself is treated in the same way, because
// checkStale cannot tell it from a removal by the drain.
func (b *Bus) checkStale(s *serverSub) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	if s.refs > 0 || b.closed {
		return
	}
	// If this fails, nats.go has already removed the subscription.
	_ = s.sub.Unsubscribe()
	if s.nc != b.conn() {
		// The server forgets the subscriptions of a connection that has been replaced.
		return
	}
	if closeReconnects := s.closeReconnects.Load(); closeReconnects > s.drainReconnects {
		b.stale, b.staleReconnects = true, closeReconnects
	}
}

// dropStale forces a reconnect if there may be a stale subscription that no later reconnect has
// removed. If changeMu is locked, dropStale returns at once, so that watch is not blocked. The next
// probe calls it again.
func (b *Bus) dropStale() {
	if !b.changeMu.TryLock() {
		return
	}
	stale := b.stale && b.staleReconnects == b.conn().Stats().Reconnects
	b.stale = false
	b.changeMu.Unlock()
	if stale {
		// If this fails, the connection has already been closed.
		_ = b.conn().ForceReconnect()
	}
}
