package dynamic

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

const (
	// DefaultKeepalive is the interval at which the sides of a stream are heard, unless told otherwise.
	DefaultKeepalive = 10 * time.Second
	// MinimumKeepalive is the least interval.
	MinimumKeepalive = 10 * time.Millisecond

	// maxMissedKeepalives is the number of intervals without a sign of life after which a peer has vanished.
	maxMissedKeepalives = 3
)

type keepaliveOption time.Duration

func (k keepaliveOption) applyServer(o *serverOptions) { o.keepalive = time.Duration(k) }
func (k keepaliveOption) applyConn(o *connOptions)     { o.keepalive = time.Duration(k) }

// WithKeepalive sets the interval at which the sides of a stream make sure that the other one is still there: a side
// that has sent nothing for that long gives a sign of life, and a stream of which nothing was heard for three
// intervals is closed with [ErrKeepaliveTimeout]. The smaller interval of both sides counts. The default, also for
// 0, is [DefaultKeepalive], the least [MinimumKeepalive]; less than 0 means none.
//
// Peers that know no keepalive, such as psrpc, have streams without. So have streams with MULTI routing, of which
// several servers have the other side.
func WithKeepalive(interval time.Duration) Option { return keepaliveOption(interval) }

// keepaliveInterval is what an option's value means: the interval, or 0 for none.
func keepaliveInterval(option time.Duration) time.Duration {
	switch {
	case option == 0:
		return DefaultKeepalive
	case option < 0:
		return 0
	default:
		return max(option, MinimumKeepalive)
	}
}

// keepalive watches one stream.
type keepalive struct {
	stream   *stream
	interval time.Duration
	timer    *time.Timer // guarded by the stream's mu
}

// startKeepalive begins to watch the stream if both sides announced an interval.
func (s *stream) startKeepalive(local, remote time.Duration) {
	if local <= 0 || remote <= 0 {
		return
	}
	s.lastRecv.Store(int64(time.Since(s.started)))
	k := &keepalive{stream: s, interval: max(min(local, remote), MinimumKeepalive)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		k.timer = time.AfterFunc(k.interval, k.check)
		s.onCloseFuncs = append(s.onCloseFuncs, func() { k.timer.Stop() })
	}
}

// check gives a sign of life if one is due, or gives the peer up.
func (k *keepalive) check() {
	s := k.stream
	if !s.tasks.Enter() {
		return
	}
	defer s.tasks.Leave()
	now := time.Since(s.started)
	if now-time.Duration(s.lastRecv.Load()) >= maxMissedKeepalives*k.interval {
		_ = s.Close(ErrKeepaliveTimeout) // or it was closed just now
		return
	}
	if now-time.Duration(s.lastSent.Load()) >= k.interval {
		k.ping()
	}
	k.reschedule()
}

// ping fails where the bus does not reach the peer; then nothing is heard either.
func (k *keepalive) ping() {
	s := k.stream
	requestID, now := id.NewRequest(), time.Now()
	ctx := lazyctx.Context{Parent: s.context, Expiry: now.Add(k.interval)}
	defer ctx.Cancel()
	ping := wire.Stream{
		StreamID: s.id, RequestID: requestID[:], SentAt: now.UnixNano(),
		Expiry: now.Add(maxMissedKeepalives * k.interval).UnixNano(), Op: wire.StreamPing,
	}
	if frame, err := ping.AppendFrame(nil); err == nil { // always, for it came with this stream id
		_ = s.publish(&ctx, frame, nil)
	}
}

// reschedule arranges for the next check.
func (k *keepalive) reschedule() {
	s := k.stream
	now := time.Since(s.started)
	pingIn := k.interval - (now - time.Duration(s.lastSent.Load()))
	timeoutIn := maxMissedKeepalives*k.interval - (now - time.Duration(s.lastRecv.Load()))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		k.timer.Reset(max(min(pingIn, timeoutIn), 0))
	}
}
