package natsbus

// A stale subscription exists on the server but no longer in nats.go. It arises if nats.go
// reconnects while it is removing a subscription: nats.go may send the SUB again before it forgets
// the subscription. The server would then keep sending frames of a queue to the stale subscription,
// where they would be lost. The bus therefore reconnects once more. After that, the server only has
// the subscriptions that nats.go still knows.

// checkStale unsubscribes s, in case nats.go has not removed the subscription yet. If nats.go has
// reconnected since the drain of s started, s may be stale. checkStale then sets stale, so that
// dropStale forces a reconnect. checkStale is called after the flush that follows the start of a
// drain, and after a failed Subscribe.
func (u *subscriptions) checkStale(s *serverSub) {
	u.changeMu.Lock()
	defer u.changeMu.Unlock()
	if s.refs > 0 || u.closed {
		return
	}
	// If this fails, nats.go has already removed the subscription.
	_ = s.sub.Unsubscribe()
	if s.nc != u.conn.get() {
		// The server forgets the subscriptions of a connection that has been replaced.
		return
	}
	if closeReconnects := s.closeReconnects.Load(); closeReconnects > s.drainReconnects {
		u.stale, u.staleReconnects = true, closeReconnects
	}
}

// dropStale forces a reconnect if there may be a stale subscription that no later reconnect has
// removed. If changeMu is locked, dropStale returns at once, so that watch is not blocked. The next
// probe calls it again.
func (u *subscriptions) dropStale() {
	if !u.changeMu.TryLock() {
		return
	}
	stale := u.stale && u.staleReconnects == u.conn.get().Stats().Reconnects
	u.stale = false
	u.changeMu.Unlock()
	if stale {
		// If this fails, the connection has already been closed.
		_ = u.conn.get().ForceReconnect()
	}
}
