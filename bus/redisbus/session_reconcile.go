package redisbus

import (
	"fmt"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// maxChannels is the maximum number of channels in one SUBSCRIBE or UNSUBSCRIBE command.
const maxChannels = 512

// subscribeCommand is a SUBSCRIBE or UNSUBSCRIBE command. Redis replies to the commands on a
// connection in order. It either confirms the channels of a command one by one, in order, or
// refuses the whole command.
type subscribeCommand struct {
	// subscribe reports whether the command is a SUBSCRIBE rather than an UNSUBSCRIBE.
	subscribe bool
	channels  []*channelState
	// confirmed is the number of channels that Redis has confirmed. It is also the index of the
	// channel that Redis confirms next.
	confirmed int
}

// reconcileLoop waits for channels to become dirty and sends commands for them. It also probes the
// connection. It returns when the session ends.
func (s *session) reconcileLoop() {
	openLocks := sync.OnceFunc(func() { s.workers.Go(s.openLocks) })
	ticker := time.NewTicker(max(s.bus.options.probeInterval/probeTicks, 1))
	defer ticker.Stop()
	prober := prober{session: s}
	for {
		var err error
		select {
		case <-s.locksWanted:
			openLocks()
		case <-ticker.C:
			err = prober.tick()
		case <-s.wakeup:
			err = s.reconcile()
		case <-s.ctx.Done():
			return
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

// reconcile sends the commands that bring all dirty channels from their actual to their desired
// state.
func (s *session) reconcile() error {
	for _, command := range s.diff() {
		// Set a new write deadline for each command, because Redis may be slow to read many
		// commands.
		s.limitWrite()
		args := []string{s.commandName(command.subscribe)}
		for _, channel := range command.channels {
			args = append(args, channel.name)
		}
		writeCommand(s.pubsub.writer, args...)
	}
	s.limitWrite()
	if err := s.pubsub.writer.Flush(); err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	return nil
}

// limitWrite makes writes to the pub/sub socket fail if they take longer than a probe interval.
func (s *session) limitWrite() {
	// If this fails, the write fails too.
	_ = s.pubsub.SetWriteDeadline(time.Now().Add(s.bus.options.probeInterval))
}

// commandName returns the name of the command to send, which depends on whether pub/sub is sharded.
func (s *session) commandName(subscribe bool) string {
	switch sharded := s.bus.options.sharded; {
	case subscribe && sharded:
		return "ssubscribe"
	case subscribe:
		return "subscribe"
	case sharded:
		return "sunsubscribe"
	default:
		return "unsubscribe"
	}
}

// diff returns the commands needed for the dirty channels and marks the channels as clean. It
// appends the commands to sentCommands before they are written, so that each reply can be matched
// with its command.
func (s *session) diff() []*subscribeCommand {
	b := s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.supervisor.attached != s {
		return nil
	}
	var subscribe, unsubscribe, separately []*channelState
	for _, c := range s.supervisor.dirty {
		c.dirty = false
		switch desired := c.desiredLocked(); {
		case desired == c.subscribeSent || desired && c.subscribeErr != nil:
			// There is nothing to send, or Redis has already refused the channel in this session.
			// Wake the goroutines that are waiting for the channel to become clean.
			c.notifyLocked()
			b.deleteIfUnusedLocked(c)
			continue
		case !desired:
			unsubscribe = append(unsubscribe, c)
		case c.subscribeAlone:
			separately = append(separately, c)
		default:
			subscribe = append(subscribe, c)
		}
		c.subscribeSent = !c.subscribeSent
		c.pendingReplies++
	}
	s.supervisor.dirty = nil

	maxPerCommand := maxChannels
	if b.options.sharded { // a cluster refuses commands whose channels are in different slots
		maxPerCommand = 1
	}
	first := len(s.sentCommands)
	s.appendCommandsLocked(false, unsubscribe, maxPerCommand)
	s.appendCommandsLocked(true, subscribe, maxPerCommand)
	s.appendCommandsLocked(true, separately, 1)
	return s.sentCommands[first:len(s.sentCommands):len(s.sentCommands)]
}

// appendCommandsLocked appends commands for all given channels to sentCommands, with at most
// maxPerCommand channels in each.
func (s *session) appendCommandsLocked(subscribe bool, channels []*channelState, maxPerCommand int) {
	for len(channels) > 0 {
		n := min(maxPerCommand, len(channels))
		s.sentCommands = append(s.sentCommands, &subscribeCommand{subscribe: subscribe, channels: channels[:n]})
		channels = channels[n:]
	}
}

// onConfirmed handles the confirmation that Redis sends for each channel of a SUBSCRIBE or
// UNSUBSCRIBE command. Redis confirms the channels in the order in which they were sent. The
// confirmation must therefore be that of the first unconfirmed channel of the oldest command. Any
// other confirmation ends the session.
func (s *session) onConfirmed(confirmation push) {
	b := s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.supervisor.attached != s {
		return
	}
	if len(s.sentCommands) == 0 || s.sentCommands[0].channels[s.sentCommands[0].confirmed].name != string(confirmation.channel) {
		// For example, a cluster sends an unsolicited SUNSUBSCRIBE when a channel's slot moves to
		// another node. The supervisor replaces the failed session.
		s.fail(fmt.Errorf("unexpected %s of channel %.200s from redis", confirmation.kind, confirmation.channel))
		return
	}
	s.confirmations.Add(1)
	command := s.sentCommands[0]
	c := command.channels[command.confirmed]
	if command.confirmed++; command.confirmed == len(command.channels) {
		s.sentCommands = s.sentCommands[1:]
	}
	c.pendingReplies--
	c.notifyLocked()
	b.deleteIfUnusedLocked(c)
}

// onRefused handles an error reply to the oldest command. If the command names several channels,
// any of them may be the cause, so each one is tried again with a command of its own. If it names a
// single channel, Redis has refused this channel, or the channel's shard has moved to another node.
func (s *session) onRefused(err error) {
	b := s.bus
	b.mu.Lock()
	if s.supervisor.attached != s || len(s.sentCommands) == 0 {
		b.mu.Unlock()
		s.fail(fmt.Errorf("error reply without a command: %w", err))
		return
	}
	s.confirmations.Add(1)
	command := s.sentCommands[0]
	s.sentCommands = s.sentCommands[1:]
	for _, c := range command.channels {
		c.subscribeSent = !command.subscribe
		c.pendingReplies--
		switch {
		case len(command.channels) > 1:
			c.subscribeAlone = true
		case isTransient(err):
			c.subscribeAlone = true
			b.workers.Go(func() { b.reassignNode(c) })
			continue
		default:
			c.subscribeErr = channelError("subscribe to", c.name, err)
		}
		c.markDirtyLocked()
		c.notifyLocked()
	}
	b.mu.Unlock()
	if len(command.channels) == 1 && !isTransient(err) {
		b.events.Put(bus.Event{Kind: bus.Dropped, Channel: command.channels[0].name, Err: err})
	}
}
