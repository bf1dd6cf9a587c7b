package redisbus

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// shareDelay is how long this process waits before it asks for the lock on a frame, if it has
	// used up its share of the frames (see [share]). During this time, psrpc processes can take the
	// frame. They ask for one lock after the other, so under load they reach a frame only after
	// tens of milliseconds.
	shareDelay = 100 * time.Millisecond
	// maxShareWaiting is the maximum number of queue frames of a session that wait for credit. If
	// more frames arrive, their locks are requested at once.
	maxShareWaiting = 4096
	// maxShareCredit is the maximum credit of this process, in frames. It limits how much the
	// process can catch up after others have taken more than their share.
	maxShareCredit = 16
)

// share limits how many queue frames of a channel this process takes while psrpc processes also
// take frames, so that each process takes about the same number.
//
// A lock goes to the process that asks first. A psrpc process asks for one lock and waits for the
// reply before it asks for the next. This bus asks for the locks of a whole burst at once, so it
// would take nearly all frames. It therefore asks at once only if it has credit for the frame.
// Otherwise, it waits for credit, but no longer than shareDelay, and thus also takes frames that
// psrpc processes do not take in time.
type share struct {
	// limited is set while the number of frames that this process takes is limited.
	limited atomic.Bool
	// waiting is the number of frames that wait until this process may ask for their locks.
	waiting atomic.Int64
	// frames is the number of frames for whose lock this process has asked.
	frames atomic.Int64

	// mu guards the fields below.
	mu sync.Mutex
	// processes is the number of processes that subscribe to the channel, this one included. It is
	// zero if the number is not known yet.
	processes int
	// credit is the number of frames that this process may take without a delay. Each frame that
	// arrives adds one divided by the number of processes. A frame that is taken after shareDelay
	// costs no credit, because frames would otherwise wait whenever psrpc processes are slow.
	credit float64
	// asked is the number of lock attempts that use credit and to which Redis has not replied yet.
	asked int
}

// addFrame is called for each frame that arrives, and adds the credit that the process gains with
// the frame. mustWait reports whether this process must wait before it asks for the lock on the
// frame. onCredit reports whether it may ask at once by using credit. In this case, the caller must
// call onReply when Redis has replied.
func (s *share) addFrame() (mustWait, onCredit bool) {
	limited, waiting := s.limited.Load(), s.waiting.Load() > 0
	if !limited && !waiting {
		return false, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credit = min(s.credit+1/float64(max(s.processes, 2)), maxShareCredit)
	if limited && !waiting && s.credit-float64(s.asked) >= 1 {
		s.asked++
		return false, true
	}
	return true, false
}

// tryAsk reports whether this process may now ask for the lock on a waiting frame that arrived at
// the time arrived. onCredit reports whether asking uses credit. In this case, the caller must call
// onReply when Redis has replied.
func (s *share) tryAsk(arrived, now time.Time) (ask, onCredit bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.limited.Load() || now.Sub(arrived) >= shareDelay:
	case s.credit-float64(s.asked) >= 1:
		s.asked++
		onCredit = true
	default:
		return false, false
	}
	return true, onCredit
}

// onReply handles the reply to a lock attempt that uses credit. If this process has not taken the
// lock, it keeps the credit.
func (s *share) onReply(taken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked--
	if taken {
		s.credit--
	}
}

// setLimit sets whether this process must limit the number of frames that it takes. It also sets
// the number of processes that subscribe to the channel.
func (s *share) setLimit(limited bool, processes int) {
	s.mu.Lock()
	s.processes = processes
	s.mu.Unlock()
	s.limited.Store(limited)
}

// countFrame counts a frame for whose lock this process has asked. It reports whether it is time to
// check which other processes subscribe to the channel. This is the case after 16, 32, 64 and so on
// up to 1024 frames, and then after every further 1024 frames.
func (s *share) countFrame() (check bool) {
	const first, interval = 16, 1024
	frames := s.frames.Add(1)
	return frames%interval == 0 || frames >= first && frames < interval && frames&(frames-1) == 0
}

// sharedFrames holds lock attempts of a session that have not been sent yet. Their frames wait for
// credit or for the end of their delay (see [share]). The oldest attempt comes first.
type sharedFrames struct {
	// wakeup holds a value if a frame has been added, or if a reply may have made credit available.
	wakeup chan struct{}

	// mu guards the fields below.
	mu      sync.Mutex
	waiting []lockAttempt
	// closed is set when the session has ended.
	closed bool
}

func (f *sharedFrames) wake() {
	select {
	case f.wakeup <- struct{}{}:
	default:
	}
}

// add adds an attempt. It returns false if the session has ended or too many frames are waiting.
func (f *sharedFrames) add(attempt lockAttempt) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.waiting) >= maxShareWaiting {
		return false
	}
	attempt.channel.share.waiting.Add(1)
	f.waiting = append(f.waiting, attempt)
	return true
}

// takeReady removes and returns the attempts that may be sent now. It also returns how long the
// oldest remaining attempt has to wait, or zero if none remains.
func (f *sharedFrames) takeReady(now time.Time) (ready []lockAttempt, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rest := f.waiting[:0]
	for _, attempt := range f.waiting {
		ask, onCredit := attempt.channel.share.tryAsk(attempt.arrived, now)
		if !ask {
			rest = append(rest, attempt)
			continue
		}
		if onCredit {
			attempt.onCredit = f
		}
		ready = append(ready, attempt)
	}
	// Let the garbage collector free the frames that no longer wait.
	clear(f.waiting[len(rest):])
	if f.waiting = rest; len(rest) > 0 {
		wait = max(rest[0].arrived.Add(shareDelay).Sub(now), time.Microsecond)
	}
	return ready, wait
}

// close finishes all waiting attempts with err. After that, add accepts no more attempts.
func (f *sharedFrames) close(err error) {
	f.mu.Lock()
	waiting := f.waiting
	f.waiting, f.closed = nil, true
	f.mu.Unlock()
	for _, attempt := range waiting {
		attempt.channel.share.waiting.Add(-1)
		attempt.finish(err)
	}
}

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
			s.sharedFrames.close(s.err())
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
