package natsbus

// A stale subscription exists on the server but not in nats.go. It can appear if nats.go reconnects
// while it removes the subscription: it may send the SUB again and then forget the subscription.
// The server would keep sending the subscription its share of a queue's frames, which would be
// lost, and would not report the subject as having no responders. Reconnecting once more makes
// nats.go send its actual subscriptions to the server, which drops the stale one.

// watchClosed records the number of reconnects at the moment when nats.go forgets the subscription.
func (b *Bus) watchClosed(s *serverSub) {
	// nats.go calls the handler with its mutex held, so nc.Stats would deadlock.
	s.sub.SetClosedHandler(func(string) { s.closeReconnects.Store(b.nc.Reconnects) })
}

// checkStale checks, after the flush that follows a drain, whether s may have become stale: that is
// so if nats.go has reconnected between the drain and the moment when it forgot the subscription.
// If nats.go has not removed the subscription yet, checkStale unsubscribes it.
func (b *Bus) checkStale(s *serverSub) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	if s.refs > 0 || b.closed || s.sub.Unsubscribe() == nil {
		return
	}
	if closeReconnects := s.closeReconnects.Load(); closeReconnects > s.drainReconnects {
		b.stale, b.staleReconnects = true, closeReconnects
	}
}

// dropStale forces a reconnect if there may be a stale subscription and the connection has not
// reconnected since. It runs on every probe, so it skips a round instead of blocking on changeMu.
func (b *Bus) dropStale() {
	if !b.changeMu.TryLock() {
		return
	}
	stale := b.stale && b.staleReconnects == b.nc.Stats().Reconnects
	b.stale = false
	b.changeMu.Unlock()
	if stale {
		_ = b.nc.ForceReconnect() // fails if the connection was closed
	}
}
