package redisbus

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// shareDelay is the longest time that this process waits before it asks for the lock on a
	// frame. It waits only if it has used up its share of the frames (see [share]). During this
	// time, psrpc processes can take the frame. They ask for one lock after the other, so under
	// load they reach a frame only after tens of milliseconds.
	shareDelay = 100 * time.Millisecond
	// maxShareCredit is the maximum credit of this process, in frames. It limits how much the
	// process can catch up after others have taken more than their share.
	maxShareCredit = 16
)

// share limits how many queue frames of a channel this process takes while psrpc processes also
// take frames. Each process then takes about the same number.
//
// A lock goes to the process that asks first. A psrpc process asks for one lock and waits for the
// reply before it asks for the next. This bus asks for the locks of a whole burst at once, so it
// would take nearly all frames. It therefore asks at once only if it has credit for the frame.
// Otherwise, it waits until it has credit or shareDelay has passed. It thus also takes frames that
// psrpc processes do not take in time.
type share struct {
	// limited is set while the number of frames that this process takes is limited.
	limited atomic.Bool
	// waiting is the number of frames that wait until this process may ask for their locks.
	waiting atomic.Int64
	// frames is the number of frames whose locks this process has requested.
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
	// asked is the number of lock attempts that use credit and have no reply yet.
	asked int
}

// addFrame is called for each frame that arrives. If the share is limited or frames are waiting,
// the process gains credit. mustWait reports whether this process must wait before it asks for the
// lock on the frame. Otherwise, it may ask at once, and onCredit reports whether that uses credit.
// If it does, the caller must call onReply when Redis has replied.
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

// tryAsk reports whether this process may now ask for the lock on a waiting frame. arrived is the
// time at which the frame arrived. onCredit reports whether asking uses credit. In this case, the
// caller must call onReply when Redis has replied.
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

// countFrame counts a frame whose lock this process has requested. It reports whether it is time to
// check which other processes subscribe to the channel. This is the case after 16, 32, 64 and so on
// up to 1024 frames, and then after every further 1024 frames.
func (s *share) countFrame() (check bool) {
	const first, interval = 16, 1024
	frames := s.frames.Add(1)
	return frames%interval == 0 || frames >= first && frames < interval && frames&(frames-1) == 0
}

// wakeUp stores a value in a channel of capacity one, unless it already holds one.
func wakeUp(wakeup chan<- struct{}) {
	select {
	case wakeup <- struct{}{}:
	default:
	}
}
