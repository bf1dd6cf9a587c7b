package redisbus

import (
	"fmt"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
)

// reconcileLoop waits for channels to become dirty and sends commands for them. It also probes the
// connection. It returns when the session ends.
func (s *session) reconcileLoop() {
	openLocks := sync.OnceFunc(func() { s.workers.Go(s.openLocks) })
	ticker := time.NewTicker(max(s.bus.options.ProbeInterval/probeTicks, 1))
	defer ticker.Stop()
	prober := prober{interval: s.bus.options.ProbeInterval, pushes: &s.pushes, replies: &s.sent.replies, ping: s.ping}
	for {
		var err error
		select {
		case <-s.locks.wanted:
			openLocks()
		case <-ticker.C:
			err = prober.tick()
		case <-s.wakeup:
			err = s.reconcile()
		case <-s.ctx.Done():
			return
		}
		if err != nil {
			s.Fail(err)
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
		resp.WriteCommand(s.pubsub.Writer, args...)
	}
	s.limitWrite()
	if err := s.pubsub.Writer.Flush(); err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	return nil
}

// limitWrite makes writes to the pub/sub connection fail if they take longer than a probe interval.
func (s *session) limitWrite() {
	// If this fails, the write fails too.
	_ = s.pubsub.SetWriteDeadline(time.Now().Add(s.bus.options.ProbeInterval))
}

// ping sends a PING on the pub/sub connection. Redis accepts it on a connection that has subscribed
// to channels, and no ACL for channels applies to it.
func (s *session) ping() error {
	s.limitWrite()
	resp.WriteCommand(s.pubsub.Writer, "ping")
	if err := s.pubsub.Writer.Flush(); err != nil {
		return fmt.Errorf("sending PING: %w", err)
	}
	return nil
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

// diff returns the commands needed for the dirty channels and marks the channels as clean. It adds
// the commands to s.sent before they are written, so that each reply can be matched with its
// command.
func (s *session) diff() []*subscribeCommand {
	b := s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.group.attached != s {
		return nil
	}
	var subscribe, unsubscribe, separately []*channelState
	for _, c := range s.group.dirty {
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
	s.group.dirty = nil

	maxPerCommand := maxChannels
	if b.options.sharded { // a cluster refuses commands whose channels are in different slots
		maxPerCommand = 1
	}
	first := len(s.sent.commands)
	s.sent.addLocked(false, unsubscribe, maxPerCommand)
	s.sent.addLocked(true, subscribe, maxPerCommand)
	s.sent.addLocked(true, separately, 1)
	return s.sent.commands[first:len(s.sent.commands):len(s.sent.commands)]
}

// onConfirmed handles the confirmation that Redis sends for each channel of a SUBSCRIBE or
// UNSUBSCRIBE command. An unexpected confirmation ends the session.
func (s *session) onConfirmed(confirmation resp.Push) {
	b := s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.group.attached != s {
		return
	}
	c := s.sent.confirmLocked(confirmation.Channel)
	if c == nil {
		// For example, a cluster sends an unsolicited SUNSUBSCRIBE when a channel's slot moves to
		// another node. The supervisor replaces the failed session.
		s.Fail(fmt.Errorf("unexpected %s of channel %.200s from redis", confirmation.Kind, confirmation.Channel))
		return
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
	var command *subscribeCommand
	if s.group.attached == s {
		command = s.sent.refuseLocked()
	}
	if command == nil {
		b.mu.Unlock()
		s.Fail(fmt.Errorf("error reply without a command: %w", err))
		return
	}
	for _, c := range command.channels {
		c.subscribeSent = !command.subscribe
		c.pendingReplies--
		switch {
		case len(command.channels) > 1:
			c.subscribeAlone = true
		case resp.IsTransient(err):
			c.subscribeAlone = true
			b.workers.Go(func() { b.reassign(c) })
			continue
		default:
			c.subscribeErr = channelError("subscribe to", c.name, err)
		}
		c.markDirtyLocked()
		c.notifyLocked()
	}
	b.mu.Unlock()
	if len(command.channels) == 1 && !resp.IsTransient(err) {
		b.events.Dropped(command.channels[0].name, 0, err)
	}
}
