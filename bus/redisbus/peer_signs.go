package redisbus

import "sync"

// maxPeerSigns is the maximum number of values of type [peerSign] that are collected for one check.
const maxPeerSigns = 64

// peerSign is a reason to check which other processes subscribe to a channel. Either another
// process has taken a lock, or this process has asked for many locks.
type peerSign struct {
	channel *channelState
	// lostLock is the key of the lock that another process has taken. It is empty if the sign is
	// that this process has asked for many locks.
	lostLock string
}

// peerSigns collects values of type [peerSign] for the next call to checkPeers.
type peerSigns struct {
	// wakeup holds a value if signs is not empty.
	wakeup chan struct{}
	mu     sync.Mutex
	signs  []peerSign
}

// onLock is called with the reply to a lock attempt on channel c. It counts the frame. If another
// process has taken the lock, onLock makes watchPeers check which other processes subscribe to the
// channel. It does the same if this process has asked for many locks.
func (p *peerSigns) onLock(c *channelState, frame []byte, taken bool) {
	switch check := c.share.countFrame(); {
	case !taken:
		p.add(c, frame)
	case check:
		p.add(c, nil)
	}
}

// add stores a sign for channel c and wakes watchPeers. If maxPeerSigns signs are already stored,
// it does nothing. frame is the frame whose lock another process has taken, or nil.
func (p *peerSigns) add(c *channelState, frame []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.signs) >= maxPeerSigns {
		return
	}
	sign := peerSign{channel: c}
	if frame != nil {
		sign.lostLock = lockKey(frame)
	}
	p.signs = append(p.signs, sign)
	wakeUp(p.wakeup)
}

func (p *peerSigns) take() []peerSign {
	p.mu.Lock()
	defer p.mu.Unlock()
	signs := p.signs
	p.signs = nil
	return signs
}
