package natsbus

// An orphan is a NATS subscription that the server has and nats.go does not: if nats.go reconnects while it ends one, it
// may subscribe again and then forget about it. The server would go on to send a queue's share to it, which is lost, and
// would not say that nobody listens.

// watchEnd notes when nats.go forgets the subscription of r.
func (b *Bus) watchEnd(r *route) {
	r.sub.SetClosedHandler(func(string) { r.endedAt.Store(b.nc.Reconnects) }) // nats.go calls it with its mutex held
}

// checkOrphaned looks at a route that has ended, or should have.
func (b *Bus) checkOrphaned(r *route) {
	b.changing.Lock()
	defer b.changing.Unlock()
	if r.staying > 0 || b.closed || r.sub.Unsubscribe() == nil {
		return
	}
	if endedAt := r.endedAt.Load(); endedAt > r.endingAt {
		b.orphaned, b.orphanedAt = true, endedAt
	}
}

// disownOrphans reconnects if there may be orphans: that subscribes again to what nats.go knows. If it would have to
// wait it leaves it to the next time.
func (b *Bus) disownOrphans() {
	if !b.changing.TryLock() {
		return
	}
	orphaned := b.orphaned && b.orphanedAt == b.nc.Stats().Reconnects
	b.orphaned = false
	b.changing.Unlock()
	if orphaned {
		_ = b.nc.ForceReconnect() // fails if the connection was closed
	}
}
