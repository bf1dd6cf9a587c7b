package stream

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

const (
	// MinimumKeepalive is the shortest keepalive interval, even if the other side announces a
	// shorter one.
	MinimumKeepalive = 10 * time.Millisecond

	// maxMissedKeepalives is the number of keepalive intervals after which a stream is closed if no
	// frame has arrived.
	maxMissedKeepalives = 3
)

// ErrKeepaliveTimeout is the error of a stream that was closed because no frame had arrived from
// the other side for too long.
var ErrKeepaliveTimeout = errors.NewErrorf(errors.Unavailable, "stream peer vanished")

// keepalive detects that the other side of a stream is gone. The bus cannot report this, because it
// has no connection per stream: if one side crashes, its frames merely cease to arrive.
type keepalive struct {
	stream *Stream
	// interval is the time between two pings. It is 0 if no pings are sent.
	interval time.Duration
	// timeout is the time after which the stream is closed if no frame has arrived.
	timeout time.Duration
	// timer calls the method check. stream.mu guards this field.
	timer *time.Timer
}

// StartKeepalive starts to send and expect keepalives if both sides have announced an interval.
// local is the interval of this side, and remote that of the other side; 0 stands for none. A side
// that has received no frame for three times the shorter interval closes the stream with
// [ErrKeepaliveTimeout].
func (s *Stream) StartKeepalive(local, remote time.Duration) {
	if local <= 0 || remote <= 0 {
		return
	}
	interval := max(min(local, remote), MinimumKeepalive)
	(&keepalive{stream: s, interval: interval, timeout: maxMissedKeepalives * interval}).start(interval)
}

// StartIdleTimeout makes the stream close with [ErrKeepaliveTimeout] if no frame arrives for the
// duration timeout. It does nothing if timeout is 0.
func (s *Stream) StartIdleTimeout(timeout time.Duration) {
	if timeout > 0 {
		(&keepalive{stream: s, timeout: timeout}).start(timeout)
	}
}

// start sets the timer for the first check. The time without received frames is measured from now.
func (k *keepalive) start(after time.Duration) {
	s := k.stream
	s.lastRecv.Store(int64(time.Since(s.started)))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		k.timer = time.AfterFunc(after, k.check)
		s.onCloseFuncs = append(s.onCloseFuncs, func() { k.timer.Stop() })
	}
}

// check is called by the timer. If the other side is gone, it closes the stream. Otherwise, if a
// ping is due, it sends one.
func (k *keepalive) check() {
	s := k.stream
	if !s.tasks.Enter() {
		return
	}
	defer s.tasks.Leave()
	now := time.Since(s.started)
	if now-time.Duration(s.lastRecv.Load()) >= k.timeout {
		// Close also notifies the other side, which may still be able to receive frames.
		_ = s.Close(ErrKeepaliveTimeout)
		return
	}
	if k.interval > 0 && now-time.Duration(s.lastSent.Load()) >= k.interval {
		k.ping()
	}
	k.reschedule()
}

// ping sends a ping. It ignores errors. If the bus cannot reach the other side, no frames arrive
// from there either, so the method check will close the stream.
func (k *keepalive) ping() {
	s := k.stream
	requestID, now := id.NewRequest(), time.Now()
	ctx := lazyctx.Context{Parent: s.context, Expiry: now.Add(k.interval)}
	defer ctx.Cancel()
	ping := wire.Stream{
		StreamID: s.config.ID, RequestID: requestID[:], SentAt: now.UnixNano(),
		Expiry: now.Add(k.timeout).UnixNano(), Op: wire.StreamPing,
	}
	// Encoding fails only if the stream ID is invalid, but a stream with such an ID cannot be
	// opened.
	if frame, err := ping.AppendFrame(nil); err == nil {
		_ = s.publish(&ctx, frame, now.Sub(s.started), nil)
	}
}

// reschedule sets the timer to fire when the next ping is due or when the other side times out,
// whichever comes first.
func (k *keepalive) reschedule() {
	s := k.stream
	now := time.Since(s.started)
	next := k.timeout - (now - time.Duration(s.lastRecv.Load()))
	if k.interval > 0 {
		next = min(next, k.interval-(now-time.Duration(s.lastSent.Load())))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		k.timer.Reset(max(next, 0))
	}
}
