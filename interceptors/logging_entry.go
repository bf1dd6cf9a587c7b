package interceptors

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// entry collects the attributes of one log line, from the start of the operation to its end.
type entry struct {
	logging *logging
	message string
	side    string
	info    dynamic.RPCInfo
	started time.Time
	peer    string
	attrs   []slog.Attr // written after all other attributes
}

func (n *entry) add(attrs ...slog.Attr) { n.attrs = append(n.attrs, attrs...) }

// addMessage adds the size of a message, and its content if [WithPayloads] is set. A nil message
// adds nothing.
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

// errPanicked is logged as the error of a call that panicked.
var errPanicked = errors.NewErrorf(errors.Internal, "panic")

// endOrPanic must be deferred. It writes the line with the returned error, or with errPanicked if
// the function did not return. It does not recover the panic.
func (n *entry) endOrPanic(ctx context.Context, returned *bool, err *error) {
	if !*returned {
		n.end(ctx, errPanicked)
		return
	}
	n.end(ctx, *err)
}
