package natsbus

// An orphan is a NATS subscription that the server has and nats.go does not: if nats.go reconnects while it ends one, it
// may subscribe again and then forget about it. The server would go on to send a queue's share to it, which is lost, and
// would not say that nobody listens.

// checkOrphaned looks at a route that has ended.
func (b *Bus) checkOrphaned(r *route) {
	b.changing.Lock()
	defer b.changing.Unlock()
	if r.staying > 0 || b.closed {
		return
	}
	_ = r.sub.Unsubscribe() // fails, as a rule, since nats.go has forgotten it
	if reconnects := b.nc.Stats().Reconnects; reconnects != r.reconnects {
		b.orphaned, b.orphanedAt = true, reconnects
	}
}

// disownOrphans reconnects if there may be orphans. It subscribes again to what nats.go knows.
func (b *Bus) disownOrphans() {
	b.changing.Lock()
	orphaned := b.orphaned && b.orphanedAt == b.nc.Stats().Reconnects
	b.orphaned = false
	b.changing.Unlock()
	if orphaned {
		_ = b.nc.ForceReconnect() // fails if the connection was closed
	}
}
