package dynamic

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// dropReason is the reason for which a server, a conn or a subscription drops a frame.
// [ServerStats], [ConnStats] and [SubscriptionStats] explain the reasons.
type dropReason int

const (
	dropBadFrame dropReason = iota
	dropExpired
	dropDuplicated
	dropUnmatched
	dropOverflowed
	dropUnsent
	dropEvicted
	dropRefused
	dropIntercepted
	// dropReasons is the number of reasons.
	dropReasons
)

// dropMessages contains the log message for each reason.
var dropMessages = [dropReasons]string{
	dropBadFrame:    "dynpsrpc: dropped bad frame",
	dropExpired:     "dynpsrpc: dropped expired frame",
	dropDuplicated:  "dynpsrpc: dropped frame that the bus has delivered twice",
	dropUnmatched:   "dynpsrpc: dropped frame whose call or stream is unknown or has ended",
	dropOverflowed:  "dynpsrpc: dropped message because its reader is too slow",
	dropUnsent:      "dynpsrpc: cannot send frame to client",
	dropEvicted:     "dynpsrpc: too many requests wait for a grant, or for too long: the oldest are dropped",
	dropRefused:     "dynpsrpc: refused message",
	dropIntercepted: "dynpsrpc: dropped update that an interceptor has refused",
}

// level returns the level of the log lines for r. It is debug for duplicates and unmatched frames,
// because they also occur in normal operation and nothing is lost when they are dropped. It is also
// debug for updates that an interceptor refuses, because they are dropped on purpose.
func (r dropReason) level() slog.Level {
	if r == dropDuplicated || r == dropUnmatched || r == dropIntercepted {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

const (
	// dropLogInterval is the minimum time between two log lines about frames that were dropped for
	// the same reason. Any peer can cause drops, and could otherwise flood the log.
	dropLogInterval = time.Second
	// maxLoggedName is the maximum number of bytes of a channel or of a peer's ID in a log line. It
	// is needed because peers choose their IDs, which are also parts of channel names.
	maxLoggedName = 128
)

// drops counts the frames that a server or conn drops, and logs some of them. The field logger must
// be set before first use.
type drops struct {
	logger *slog.Logger
	frames [dropReasons]atomic.Uint64
	logs   [dropReasons]logthrottle.Throttle
}

// droppedFrame describes a dropped frame in a log line. Unknown fields are left empty.
type droppedFrame struct {
	method *registry.Method
	// channel is the name of the channel of the frame. For a frame of an open stream, it is the
	// channel on which the other side receives frames. The name of that channel may contain the ID
	// of the other side.
	channel string
	// peer is the ID of the client or server that sent the frame.
	peer []byte
	// err says what is wrong with the frame.
	err error
}

// count returns the number of frames that were dropped for a reason.
func (d *drops) count(reason dropReason) uint64 { return d.frames[reason].Load() }

// add counts a dropped frame and logs it. It never blocks.
func (d *drops) add(reason dropReason, frame droppedFrame) {
	d.frames[reason].Add(1)
	d.log(reason, frame)
}

// addBad counts a frame of a channel that is malformed, too large or of the wrong kind.
func (d *drops) addBad(channel bus.Channel, err error) {
	d.add(dropBadFrame, droppedFrame{channel: channel.Name, err: err})
}

// log logs a dropped frame, unless the last log line with the same reason is too recent. Each line
// contains the number of frames that were dropped for this reason since the line before it.
func (d *drops) log(reason dropReason, frame droppedFrame) {
	ctx, level := context.Background(), reason.level()
	if !d.logger.Enabled(ctx, level) {
		return
	}
	frames, ok := d.logs[reason].Allow(dropLogInterval)
	if !ok {
		return
	}
	attrs := []slog.Attr{slog.Uint64("frames", frames)}
	if frame.method != nil {
		attrs = append(attrs, slog.String("method", frame.method.FullName()))
	}
	if frame.channel != "" {
		attrs = append(attrs, slog.String("channel", transport.Shorten(frame.channel, maxLoggedName)))
	}
	if len(frame.peer) > 0 {
		attrs = append(attrs, slog.String("peer", transport.Shorten(string(frame.peer), maxLoggedName)))
	}
	if frame.err != nil {
		attrs = append(attrs, slog.Any("error", frame.err))
	}
	d.logger.LogAttrs(ctx, level, dropMessages[reason], attrs...)
}
