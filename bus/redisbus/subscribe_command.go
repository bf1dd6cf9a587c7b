package redisbus

import "sync/atomic"

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

// sentCommands lists the commands of a session to which Redis has not fully replied yet, so that
// each reply can be matched with its command.
type sentCommands struct {
	// replies counts the replies to the commands: one for each channel that Redis has confirmed,
	// and one for each command that it has refused.
	replies atomic.Uint64

	// commands is ordered, oldest first. core.mu guards it.
	commands []*subscribeCommand
}

// addLocked adds commands for all given channels, with at most maxPerCommand channels in each.
func (s *sentCommands) addLocked(subscribe bool, channels []*channelState, maxPerCommand int) {
	for len(channels) > 0 {
		n := min(maxPerCommand, len(channels))
		s.commands = append(s.commands, &subscribeCommand{subscribe: subscribe, channels: channels[:n]})
		channels = channels[n:]
	}
}

// confirmLocked handles the confirmation that Redis sends for each channel of a command, and
// returns this channel. Redis confirms the channels in the order in which they were sent.
// confirmLocked returns nil if the confirmation is not that of the first unconfirmed channel of the
// oldest command.
func (s *sentCommands) confirmLocked(name []byte) *channelState {
	if len(s.commands) == 0 {
		return nil
	}
	command := s.commands[0]
	c := command.channels[command.confirmed]
	if c.name != string(name) {
		return nil
	}
	s.replies.Add(1)
	if command.confirmed++; command.confirmed == len(command.channels) {
		s.commands = s.commands[1:]
	}
	return c
}

// refuseLocked removes and returns the oldest command, which Redis has refused. It returns nil if
// there is none.
func (s *sentCommands) refuseLocked() *subscribeCommand {
	if len(s.commands) == 0 {
		return nil
	}
	s.replies.Add(1)
	command := s.commands[0]
	s.commands = s.commands[1:]
	return command
}
