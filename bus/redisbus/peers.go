package redisbus

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// peerCheckInterval is the minimum time between two checks for psrpc processes.
	peerCheckInterval = 250 * time.Millisecond
	// maxPeerSigns is the maximum number of values of type [peerSign] that are collected for one
	// check.
	maxPeerSigns = 64
	// peerExpiry is how long a channel is assumed to have psrpc processes as subscribers after one
	// of them has taken a lock.
	peerExpiry = 10 * time.Second
	// maxChannelsPerCommand is the maximum number of channels in one PUBSUB NUMSUB command.
	maxChannelsPerCommand = 256
)

// peerSign is a reason to check which other processes subscribe to a channel. Either another
// process has taken a lock, or this process has taken many locks in a row.
type peerSign struct {
	channel *channelState
	// lostLock is the key of a lock that another process has taken. It is empty if this process has
	// taken many locks in a row.
	lostLock string
}

// peerSigns collects values of type [peerSign] for the next call to checkPeers.
type peerSigns struct {
	// wakeup holds a value if signs is not empty.
	wakeup chan struct{}
	mu     sync.Mutex
	signs  []peerSign
}

// onLock handles the reply to a lock attempt. It adds a sign if another process has taken the lock,
// or if this process has taken many locks in a row.
func (p *peerSigns) onLock(c *channelState, frame []byte, taken bool) {
	if taken {
		if c.share.isTrialDue() {
			p.add(c, nil)
		}
		return
	}
	c.share.wins.Store(0)
	p.add(c, frame)
}

// add adds a sign, unless there are enough signs for a check. frame is the frame whose lock another
// process has taken. It is nil if this process has taken many locks in a row.
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
	select {
	case p.wakeup <- struct{}{}:
	default:
	}
}

func (p *peerSigns) take() []peerSign {
	p.mu.Lock()
	defer p.mu.Unlock()
	signs := p.signs
	p.signs = nil
	return signs
}

// watchPeers finds out which channels have psrpc processes among their queue subscribers, and how
// many processes subscribe to them. This process takes no more than its share of the frames of
// these channels (see [share]). watchPeers returns when the bus is closed, or when Redis denies a
// command.
//
// Redis does not tell which process has taken a lock. However, the value of a lock shows whether
// psrpc has taken it: psrpc stores a random number, and this bus stores lockValue. If this process
// takes all locks, it sometimes delays a lock attempt to give psrpc processes a chance to take that
// lock. It does not do so if no other process subscribes to the channel.
func (b *Bus) watchPeers() {
	shared := map[*channelState]bool{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.peerSigns.wakeup:
		case <-timer.C:
		case <-b.ctx.Done():
			return
		}
		err := b.checkPeers(shared)
		if hasCode(err, "NOPERM") {
			b.options.logger.Warn("redis bus may take more than its share of the frames of a queue, because it"+
				" cannot tell psrpc processes from others", "error", err)
			for c := range shared {
				c.share.setLimit(false, 0)
			}
			return
		}
		if !b.sleep(peerCheckInterval) {
			return
		}
		if len(shared) > 0 {
			timer.Reset(0)
		}
	}
}

// checkPeers looks at the collected signs. It updates shared, which is the set of channels that
// have psrpc processes as subscribers. It also sets the limit on how many frames of these channels
// this process takes.
func (b *Bus) checkPeers(shared map[*channelState]bool) error {
	ctx, cancel := context.WithTimeout(b.ctx, b.options.probeInterval)
	defer cancel()
	signs := b.peerSigns.take()
	if !b.isConnected() {
		return nil
	}
	if err := b.findPSRPC(ctx, signs, shared); err != nil {
		return err
	}
	names := map[string]bool{}
	for _, sign := range signs {
		if sign.lostLock == "" {
			names[sign.channel.name] = true
		}
	}
	for c := range shared {
		if time.Since(c.share.psrpcSeen) > peerExpiry {
			delete(shared, c)
			c.share.setLimit(false, 0)
		} else {
			names[c.name] = true
		}
	}
	if len(names) == 0 {
		return nil
	}
	processes, err := b.topology.subscribers(ctx, names)
	if err != nil {
		return err
	}
	for _, sign := range signs {
		if c := sign.channel; sign.lostLock == "" && !shared[c] && processes[c.name] > 1 {
			c.share.trial.Store(true)
		}
	}
	for c := range shared {
		c.share.setLimit(processes[c.name] > 1, int(processes[c.name]))
	}
	return nil
}

// findPSRPC finds the channels on which a psrpc process has taken a lock, and adds them to shared.
func (b *Bus) findPSRPC(ctx context.Context, signs []peerSign, shared map[*channelState]bool) error {
	values := map[*redis.StringCmd]*channelState{}
	_, err := b.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, sign := range signs {
			if sign.lostLock != "" {
				values[p.Get(ctx, sign.lostLock)] = sign.channel
			}
		}
		return nil
	})
	for value, c := range values {
		if value.Err() != nil || value.Val() == lockValue {
			continue
		}
		c.share.psrpcSeen = time.Now()
		if !shared[c] {
			shared[c] = true
			c.share.setLimit(true, 0)
		}
	}
	if errors.Is(err, redis.Nil) {
		// A lock has expired, so its value cannot be read any more.
		return nil
	}
	return err
}
