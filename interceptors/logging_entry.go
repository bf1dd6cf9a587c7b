package interceptors

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// entry is what is known when something begins that gets a line when it ends.
type entry struct {
	logging *logging
	message string
	side    string
	info    dynamic.RPCInfo
	started time.Time
	peer    string
	attrs   []slog.Attr // the last ones
}

func (n *entry) add(attrs ...slog.Attr) { n.attrs = append(n.attrs, attrs...) }

// addMessage adds a message's size, and itself if that is wanted. The message may be nil.
func (n *entry) addMessage(name string, message proto.Message) {
	if message == nil {
		return
	}
	n.add(slog.Int(name+"_size", proto.Size(message)))
	if n.logging.payloads {
		n.add(slog.String(name, redactedJSON(message)))
	}
}

func (n *entry) addAttempt(ctx context.Context) {
	if attempt := Attempt(ctx); attempt > 1 {
		n.add(slog.Int("attempt", attempt))
	}
}

// end writes the line.
func (n *entry) end(ctx context.Context, err error) {
	code := codeOf(err)
	level := n.logging.level(n.info, code)
	if !n.logging.logger.Enabled(ctx, level) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 12), slog.String("side", n.side), slog.String("method", n.info.Descriptor.FullName()))
	if len(n.info.Topic) > 0 {
		attrs = append(attrs, slog.Any("topic", n.info.Topic))
	}
	if n.peer != "" {
		attrs = append(attrs, slog.String("peer", n.peer))
	}
	if err == nil {
		attrs = append(attrs, slog.String("code", "ok"))
	} else {
		attrs = append(attrs, slog.String("code", string(code)), slog.String("error", err.Error()))
	}
	attrs = append(attrs, slog.Duration("duration", time.Since(n.started)))
	n.logging.logger.LogAttrs(ctx, level, n.message, append(attrs, n.attrs...)...)
}

// errPanicked stands for the error of what has panicked, in a line.
var errPanicked = errors.NewErrorf(errors.Internal, "panic")

// endOrPanic is deferred: end, also if there is no error yet because of a panic. It does not end that.
func (n *entry) endOrPanic(ctx context.Context, returned *bool, err *error) {
	if !*returned {
		n.end(ctx, errPanicked)
		return
	}
	n.end(ctx, *err)
}
