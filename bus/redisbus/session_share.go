package redisbus

import "time"

// waitForShare stores a lock attempt and returns without waiting. shareLoop sends the attempt when
// this process has credit for its frame, or after shareDelay at the latest (see [share]). If
// waitForShare returns false, the attempt is not stored, and the caller must send it at once.
func (s *session) waitForShare(attempt lockAttempt) bool {
	if !s.sharedFrames.add(attempt) {
		return false
	}
	s.sharedFrames.wake()
	return true
}

// shareLoop sends the lock attempts that had to wait for credit, in the order of their frames. It
// returns when the session ends.
func (s *session) shareLoop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.sharedFrames.wakeup:
		case <-timer.C:
		case <-s.ctx.Done():
			s.sharedFrames.close(s.Err())
			return
		}
		ready, wait := s.sharedFrames.takeReady(time.Now())
		for _, attempt := range ready {
			if err := s.tryLock(attempt); err != nil {
				attempt.finish(err)
			}
			// Decrement the count only now, so that no frame that has arrived in the meantime
			// overtakes this one.
			attempt.channel.share.waiting.Add(-1)
		}
		if len(ready) > 0 {
			s.flushLocks()
		}
		if wait > 0 {
			timer.Reset(wait)
		}
	}
}
