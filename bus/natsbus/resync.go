package natsbus

// An orphan is a NATS subscription that the server has and nats.go does not: if nats.go reconnects while it ends one, it
// may subscribe again and then forget about it. The server would go on to send a queue's share to it, which is lost, and
// would not say that nobody listens.

// watchClosed notes when nats.go forgets the subscription of r.
func (b *Bus) watchClosed(r *serverSub) {
	r.sub.SetClosedHandler(func(string) { r.closeReconnects.Store(b.nc.Reconnects) }) // nats.go calls it with its mutex held
}

// checkStale looks at a route that has ended, or should have.
func (b *Bus) checkStale(r *serverSub) {
	b.changeMu.Lock()
	defer b.changeMu.Unlock()
	if r.refs > 0 || b.closed || r.sub.Unsubscribe() == nil {
		return
	}
	if endedAt := r.closeReconnects.Load(); endedAt > r.drainReconnects {
		b.stale, b.staleReconnects = true, endedAt
	}
}

// dropStale reconnects if there may be orphans: that subscribes again to what nats.go knows. If it would have to
// wait it leaves it to the next time.
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
