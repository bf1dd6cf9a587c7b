package redisbus

import (
	"fmt"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// maxChannels is how many channels one SUBSCRIBE or UNSUBSCRIBE names.
const maxChannels = 512

// subscribeCommand is a SUBSCRIBE or UNSUBSCRIBE. Redis confirms its channels one by one, in order, or refuses it as
// a whole; and it answers the commands of a connection in order.
type subscribeCommand struct {
	subscribe bool
	channels  []*channelState
	confirmed int
}

// reconcileLoop brings what Redis knows in line with what is wanted, whenever that has changed.
func (s *session) reconcileLoop() {
	for {
		select {
		case <-s.wakeup:
		case <-s.ctx.Done():
			return
		}
		if err := s.reconcile(); err != nil {
			s.fail(err)
			return
		}
	}
}

// reconcile sends what it takes.
func (s *session) reconcile() error {
	_ = s.pubsub.SetWriteDeadline(time.Now().Add(s.bus.options.probeInterval)) // if it fails so does the writing
	for _, command := range s.diff() {
		args := []string{s.commandName(command.subscribe)}
		for _, channel := range command.channels {
			args = append(args, channel.name)
		}
		writeCommand(s.pubsub.writer, args...)
	}
	if err := s.pubsub.writer.Flush(); err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	return nil
}

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

// diff returns the commands that the dirty channels need. They count as sent from now on, so that replies find them.
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
			c.notifyLocked() // it is not dirty any more
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
	if b.options.sharded { // a cluster takes several only if they happen to be in one slot
		maxPerCommand = 1
	}
	first := len(s.sentCommands)
	s.appendCommandsLocked(false, unsubscribe, maxPerCommand)
	s.appendCommandsLocked(true, subscribe, maxPerCommand)
	s.appendCommandsLocked(true, separately, 1)
	return s.sentCommands[first:len(s.sentCommands):len(s.sentCommands)]
}

func (s *session) appendCommandsLocked(subscribe bool, channels []*channelState, maxPerCommand int) {
	for len(channels) > 0 {
		n := min(maxPerCommand, len(channels))
		s.sentCommands = append(s.sentCommands, &subscribeCommand{subscribe: subscribe, channels: channels[:n]})
		channels = channels[n:]
	}
}

// onConfirmed takes Redis' answer for one channel of the oldest command.
func (s *session) onConfirmed(confirmation push) {
	b := s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.supervisor.attached != s {
		return
	}
	if len(s.sentCommands) == 0 || s.sentCommands[0].channels[s.sentCommands[0].confirmed].name != string(confirmation.channel) {
		// A cluster does this to a sharded channel that moves to another node.
		s.fail(fmt.Errorf("unexpected %s of channel %s", confirmation.kind, confirmation.channel))
		return
	}
	command := s.sentCommands[0]
	c := command.channels[command.confirmed]
	if command.confirmed++; command.confirmed == len(command.channels) {
		s.sentCommands = s.sentCommands[1:]
	}
	c.pendingReplies--
	c.notifyLocked()
	b.deleteIfUnusedLocked(c)
}

// onRefused takes Redis' refusal of the oldest command. If that was for several channels, each is tried by itself.
func (s *session) onRefused(err error) {
	b := s.bus
	b.mu.Lock()
	if s.supervisor.attached != s || len(s.sentCommands) == 0 {
		b.mu.Unlock()
		s.fail(fmt.Errorf("unexpected reply: %w", err))
		return
	}
	command := s.sentCommands[0]
	s.sentCommands = s.sentCommands[1:]
	for _, c := range command.channels {
		c.subscribeSent = !command.subscribe
		c.pendingReplies--
		switch {
		case len(command.channels) > 1:
			c.subscribeAlone = true
		case isMoved(err):
			c.subscribeAlone = true
			b.workers.Go(func() { b.reassignNode(c) }) // Close waits for it
			continue
		default:
			c.subscribeErr = channelError("subscribing to", c.name, err)
		}
		c.markDirtyLocked()
		c.notifyLocked()
	}
	b.mu.Unlock()
	if len(command.channels) == 1 && !isMoved(err) {
		b.events.Put(bus.Event{Kind: bus.Dropped, Channel: command.channels[0].name, Err: err})
	}
}
