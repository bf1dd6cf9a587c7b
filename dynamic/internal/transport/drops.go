package transport

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// DropReason is the reason why a server, a conn or a subscription drops a frame.
type DropReason int

const (
	// DropBadFrame stands for a frame that is malformed, too large or of the wrong kind for its
	// channel.
	DropBadFrame DropReason = iota
	// DropExpired stands for a request or stream message that has arrived after its deadline.
	DropExpired
	// DropDuplicated stands for a frame that the bus has delivered twice.
	DropDuplicated
	// DropUnmatched stands for a frame whose call or stream is unknown or has ended.
	DropUnmatched
	// DropOverflowed stands for a message for which there is no room, because its reader is too
	// slow.
	DropOverflowed
	// DropUnsent stands for a frame that could not be sent to a client.
	DropUnsent
	// DropEvicted stands for a request that has waited too long for a grant, or with too many
	// others.
	DropEvicted
	// DropRefused stands for a stream that a server refuses because too many are open, or a
	// compressed request for which it has no memory left.
	DropRefused
	// DropIntercepted stands for an update that an interceptor has refused.
	DropIntercepted
	// dropReasons is the number of reasons.
	dropReasons
)

// dropMessages contains the log message for each reason.
var dropMessages = [dropReasons]string{
	DropBadFrame:    "dynpsrpc: dropped bad frame",
	DropExpired:     "dynpsrpc: dropped expired frame",
	DropDuplicated:  "dynpsrpc: dropped frame that the bus has delivered twice",
	DropUnmatched:   "dynpsrpc: dropped frame whose call or stream is unknown or has ended",
	DropOverflowed:  "dynpsrpc: dropped message because its reader is too slow",
	DropUnsent:      "dynpsrpc: cannot send frame to client",
	DropEvicted:     "dynpsrpc: too many requests wait for a grant, or for too long: the oldest are dropped",
	DropRefused:     "dynpsrpc: refused message",
	DropIntercepted: "dynpsrpc: dropped update that an interceptor has refused",
}

// level returns the level of the log lines for r. It is debug for duplicates and unmatched frames,
// because they also occur in normal operation and nothing is lost when they are dropped. It is also
// debug for updates that an interceptor refuses, because they are dropped on purpose.
func (r DropReason) level() slog.Level {
	if r == DropDuplicated || r == DropUnmatched || r == DropIntercepted {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

const (
	// dropLogInterval is the minimum time between two log lines about frames that were dropped for
	// the same reason. Any peer can cause drops, and could otherwise flood the log.
	dropLogInterval = time.Second
	// MaxLoggedName is the maximum number of bytes of a channel or of a peer's ID in a log line. It
	// is needed because peers choose their IDs, which are also parts of channel names.
	MaxLoggedName = 128
	// SkewLogInterval is the minimum time between two log lines of a server or conn about wrong
	// clocks of its peers.
	SkewLogInterval = 100 * time.Millisecond
)

// Drops counts the frames that a server or conn drops, and logs some of them. It is safe for
// concurrent use, and its methods never block.
type Drops struct {
	// Logger must be set before first use.
	Logger *slog.Logger

	frames [dropReasons]atomic.Uint64
	logs   [dropReasons]logthrottle.Throttle
}

// DroppedFrame describes a dropped frame in a log line. Unknown fields are left empty.
type DroppedFrame struct {
	Method *registry.Method
	// Channel is the name of the channel of the frame. For a frame of an open stream, it is the
	// channel on which the other side receives frames. The name of that channel may contain the ID
	// of the other side.
	Channel string
	// Peer is the ID of the client or server that sent the frame.
	Peer []byte
	// Err says what is wrong with the frame.
	Err error
}

// Count returns the number of frames that were dropped for a reason.
func (d *Drops) Count(reason DropReason) uint64 { return d.frames[reason].Load() }

// Add counts a dropped frame and logs it as Log does.
func (d *Drops) Add(reason DropReason, frame DroppedFrame) {
	d.frames[reason].Add(1)
	d.Log(reason, frame)
}

// AddBad is like Add for a frame that is malformed, too large or of the wrong kind for its channel.
func (d *Drops) AddBad(channel bus.Channel, err error) {
	d.Add(DropBadFrame, DroppedFrame{Channel: channel.Name, Err: err})
}

// Log logs a dropped frame, unless the last log line with the same reason is too recent. Each line
// contains the number of frames that were dropped for this reason since the line before it.
func (d *Drops) Log(reason DropReason, frame DroppedFrame) {
	ctx, level := context.Background(), reason.level()
	if !d.Logger.Enabled(ctx, level) {
		return
	}
	frames, ok := d.logs[reason].Allow(dropLogInterval)
	if !ok {
		return
	}
	attrs := []slog.Attr{slog.Uint64("frames", frames)}
	if frame.Method != nil {
		attrs = append(attrs, slog.String("method", frame.Method.FullName()))
	}
	if frame.Channel != "" {
		attrs = append(attrs, slog.String("channel", Shorten(frame.Channel, MaxLoggedName)))
	}
	if len(frame.Peer) > 0 {
		attrs = append(attrs, slog.String("peer", Shorten(string(frame.Peer), MaxLoggedName)))
	}
	if frame.Err != nil {
		attrs = append(attrs, slog.Any("error", frame.Err))
	}
	d.Logger.LogAttrs(ctx, level, dropMessages[reason], attrs...)
}
