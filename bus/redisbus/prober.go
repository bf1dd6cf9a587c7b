package redisbus

import (
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// probeTicks is the number of times that the prober checks the connection in a probe interval.
	probeTicks = 4
	// maxSilentTicks is the number of checks after which the bus gives up a connection on which
	// nothing has arrived.
	maxSilentTicks = probeTicks + 1
	// maxUnansweredTicks is the number of checks after which the bus gives up a connection on which
	// frames arrive, but no reply to a PING. It is larger than maxSilentTicks, because the reply
	// arrives after all frames that Redis has sent before it.
	maxUnansweredTicks = 4 * probeTicks
)

// pushCounts counts what arrives on a pub/sub connection, for the [prober].
type pushCounts struct {
	// all counts all pushes, and pongs counts only the replies to PING.
	all, pongs atomic.Uint64
}

// prober detects a pub/sub connection that loses data while its socket stays open. A subscriber
// sends so little that no write error would reveal the loss. The prober therefore sends a PING
// twice in each probe interval, unless an earlier one has no reply yet. It counts checks instead of
// time, so that a process does not give up its connection because it was suspended. Only
// reconcileLoop uses it.
type prober struct {
	interval time.Duration
	pushes   *pushCounts
	// replies counts the replies to SUBSCRIBE and UNSUBSCRIBE commands.
	replies *atomic.Uint64
	// ping sends a PING on the connection.
	ping func() error

	// ticks is the number of checks so far. sent is the number of PINGs so far.
	ticks, sent uint64
	// lastPushes is the number of pushes at the last check. lastReplies is the number of replies
	// when unanswered was last reset.
	lastPushes, lastReplies uint64
	// silent is the number of checks since a push arrived. unanswered is the number of checks with
	// a pending PING since Redis last replied to any command.
	silent, unanswered int
}

// tick checks the connection and returns an error if it is dead. At every second check, tick sends
// a PING, unless an earlier one has no reply yet.
func (p *prober) tick() error {
	if pushes := p.pushes.all.Load(); pushes != p.lastPushes {
		p.lastPushes, p.silent = pushes, 0
	} else {
		p.silent++
	}
	answered, replies := p.pushes.pongs.Load() == p.sent, p.replies.Load()
	// Redis replies in order, so many confirmations may arrive before the reply to the PING. They
	// show that the connection works, too.
	if answered || replies != p.lastReplies {
		p.lastReplies, p.unanswered = replies, 0
	} else {
		p.unanswered++
	}
	switch p.ticks++; {
	case p.silent >= maxSilentTicks:
		return fmt.Errorf("nothing received for %v, not even a reply to PING", p.interval*maxSilentTicks/probeTicks)
	case p.unanswered >= maxUnansweredTicks:
		return fmt.Errorf("no reply to PING for %v, although frames arrive", p.interval*maxUnansweredTicks/probeTicks)
	case answered && p.ticks%(probeTicks/2) == 0:
		p.sent++
		return p.ping()
	}
	return nil
}
