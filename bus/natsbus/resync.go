package natsbus

// A stale subscription exists on the server but no longer in nats.go. It can arise if nats.go
// reconnects while it removes a subscription, because it may send the SUB again before it forgets
// the subscription. The server would keep sending frames of a queue to it, which would be lost. To
// remove it, the bus reconnects once more. The server then only has the subscriptions that nats.go
// still knows.

// watchClosed installs a handler that nats.go calls when it removes the subscription s. The handler
// stores how often the connection has reconnected so far. The method checkStale compares this
// number with the number at the start of the drain of s.
func watchClosed(s *serverSub) {
	nc := s.nc
	// nats.go calls the handler while holding its mutex, so calling nc.Stats would deadlock.
	s.sub.SetClosedHandler(func(string) { s.closeReconnects.Store(nc.Reconnects) })
}

// checkStale unsubscribes s, in case nats.go has not removed the subscription yet. If nats.go has
// reconnected since the drain of s started, s may be stale. checkStale then sets b.stale, so that
// dropStale forces a reconnect. It is called after the flush that follows the start of a drain, and
// after a failed Subscribe.
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
