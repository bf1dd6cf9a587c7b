package redisbus

import (
	"fmt"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
)

// start starts the goroutines of the session. The goroutine started by discard waits for them.
func (s *session) start() {
	s.pubsub.BeforeRead = s.flushLocks
	for _, loop := range []func(){s.readLoop, s.reconcileLoop, s.shareLoop, s.publisher.Run} {
		s.workers.Go(loop)
	}
}

// readLoop reads frames, confirmations and error replies from the pub/sub connection until the
// session ends.
func (s *session) readLoop() {
	// Channel names are rarely longer than this buffer.
	var name [256]byte
	for {
		received, err := resp.ReadPush(s.pubsub.Reader, name[:])
		if s.ctx.Err() != nil {
			// A new session may already be receiving the same frames.
			return
		}
		s.pushes.all.Add(1)
		switch {
		case err == nil && received.IsMessage():
			s.onMessage(received)
		case err == nil && received.Kind == resp.Pong:
			s.pushes.pongs.Add(1)
		case err == nil:
			s.onConfirmed(received)
		case resp.IsError(err):
			s.onRefused(err)
		default:
			s.Fail(fmt.Errorf("receiving: %w", err))
			return
		}
	}
}

// onMessage delivers a frame, or holds it if the session is not active yet.
func (s *session) onMessage(message resp.Push) {
	s.bus.counters.Received.Add(1)
	if !s.early.hold(message.Channel, message.Message) {
		s.deliver(message.Channel, message.Message)
	}
}

// activate delivers the early frames, sends the lock attempts for them, and marks the session as
// active. From then on, readLoop delivers frames as they arrive.
func (s *session) activate() {
	s.early.activate(func(frames []earlyFrame) {
		for _, frame := range frames {
			s.deliver(frame.channel, frame.frame)
		}
		s.locks.flush()
	})
}

// deliver passes a frame to the broadcast subscribers of the channel with the given name. If the
// channel also has queue subscribers in this process, deliver tries to take the lock on the frame
// for them.
func (s *session) deliver(name, frame []byte) {
	s.bus.mu.RLock()
	state := s.bus.channels[string(name)] // this conversion does not allocate memory
	s.bus.mu.RUnlock()
	if state == nil {
		// The last subscriber has just left.
		return
	}
	state.snapshot.Load().subscribers.DeliverBroadcast(frame)
	if snapshot := state.beginLockAttempt(); snapshot != nil {
		attempt := lockAttempt{
			queueFrame: queueFrame{channel: state, frame: frame, arrived: time.Now()}, bus: s.bus, snapshot: snapshot,
		}
		mustWait, onCredit := state.share.addFrame()
		if mustWait && s.waitForShare(attempt) {
			return
		}
		if onCredit {
			attempt.onCredit = s.sharedFrames.wakeup
		}
		if err := s.tryLock(attempt); err != nil {
			attempt.finish(err)
		}
	}
}
