package natsbus

// flushes runs requested flushes until the bus is closed. A flush that is requested after that
// never ends, so a goroutine that waits for it must also wait for the bus's context.
func (s *supervisor) flushes() {
	nc := s.conn.get()
	confirmed := nc.Stats().OutBytes
	s.conn.flusher.Run(s.conn.ctx.Done(), func() error {
		epoch := s.conn.state.epoch()
		if current := s.conn.get(); current != nc {
			nc, confirmed = current, 0
		}
		sent := nc.Stats().OutBytes
		if err := s.conn.flusher.RoundTrip(s.conn.ctx, nc, sent-confirmed, s.markDisconnected); err != nil {
			return err
		}
		confirmed = sent
		// The order matters. First wait until nats.go has reported the permission errors that
		// preceded the PONG, so that Subscribe can return them. Then mark the bus as connected,
		// which lets the dispatcher deliver the messages held since a reconnect. Last, wait until
		// these and all others received before the PONG have been delivered.
		s.conn.waitAsyncErrors()
		s.markConnected(epoch)
		s.dispatcher.waitDelivered()
		return nil
	})
}
