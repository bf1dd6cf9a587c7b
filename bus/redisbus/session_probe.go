package redisbus

import "fmt"

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

// prober detects a pub/sub connection that loses data while its socket stays open. A subscriber
// sends so little that it would not notice this by a write error. The prober therefore sends a PING
// twice in each probe interval, unless an earlier one has no reply yet. It counts checks instead of
// time, so that a process which was suspended does not give up its connection. Only reconcileLoop
// uses it.
type prober struct {
	session *session
	// ticks is the number of checks so far. sent is the number of PINGs so far.
	ticks, sent uint64
	// lastRead is the number of pushes at the last check. lastConfirmed is the number of
	// confirmations when unanswered was last reset.
	lastRead, lastConfirmed uint64
	// silent is the number of checks since a push arrived. unanswered is the number of checks with
	// a pending PING since Redis last replied to any command.
	silent, unanswered int
}

// tick checks the connection and returns an error if it is dead. At every second check, tick sends
// a PING, unless an earlier one has no reply yet.
func (p *prober) tick() error {
	s := p.session
	if read := s.pushesRead.Load(); read != p.lastRead {
		p.lastRead, p.silent = read, 0
	} else {
		p.silent++
	}
	answered, confirmed := s.pongsRead.Load() == p.sent, s.confirmations.Load()
	// Redis replies in order, so many confirmations may arrive before the reply to the PING. They
	// show that the connection works, too.
	if answered || confirmed != p.lastConfirmed {
		p.lastConfirmed, p.unanswered = confirmed, 0
	} else {
		p.unanswered++
	}
	interval := s.bus.options.probeInterval
	switch p.ticks++; {
	case p.silent >= maxSilentTicks:
		return fmt.Errorf("nothing received for %v, not even a reply to PING", interval*maxSilentTicks/probeTicks)
	case p.unanswered >= maxUnansweredTicks:
		return fmt.Errorf("no reply to PING for %v, although frames arrive", interval*maxUnansweredTicks/probeTicks)
	case answered && p.ticks%(probeTicks/2) == 0:
		p.sent++
		return s.ping()
	}
	return nil
}

// ping sends a PING on the pub/sub socket. Redis accepts it on a connection that has subscribed to
// channels, and no ACL for channels applies to it.
func (s *session) ping() error {
	s.limitWrite()
	writeCommand(s.pubsub.writer, "ping")
	if err := s.pubsub.writer.Flush(); err != nil {
		return fmt.Errorf("sending PING: %w", err)
	}
	return nil
}
