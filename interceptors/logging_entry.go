package interceptors

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// entry collects the attributes of one log line from the start to the end of an operation.
type entry struct {
	logging *logging
	message string
	side    string
	info    dynamic.RPCInfo
	started time.Time
	peer    string
	// attrs contains the attributes that follow the common ones, such as the sizes of messages.
	attrs []slog.Attr
}

func (e *entry) add(attrs ...slog.Attr) { e.attrs = append(e.attrs, attrs...) }

// addMessage adds the size of a message, and also its content if [WithPayloads] is used. It does
// nothing if message is nil.
func (e *entry) addMessage(name string, message proto.Message) {
	if message == nil {
		return
	}
	e.add(slog.Int(name+"_size", proto.Size(message)))
	if e.logging.payloads {
		e.add(slog.String(name, redactedJSON(message)))
	}
}

func (e *entry) addAttempt(ctx context.Context) {
	if attempt := Attempt(ctx); attempt > 1 {
		e.add(slog.Int("attempt", attempt))
	}
}

// end writes the log line.
func (e *entry) end(ctx context.Context, err error) {
	code := codeOf(err)
	level := e.logging.level(e.info, code)
	if !e.logging.logger.Enabled(ctx, level) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 12), slog.String("side", e.side), slog.String("method", e.info.Descriptor.FullName()))
	if len(e.info.Topic) > 0 {
		attrs = append(attrs, slog.Any("topic", e.info.Topic))
	}
	if e.peer != "" {
		attrs = append(attrs, slog.String("peer", e.peer))
	}
	if err == nil {
		attrs = append(attrs, slog.String("code", "ok"))
	} else {
		attrs = append(attrs, slog.String("code", string(code)), slog.String("error", err.Error()))
	}
	attrs = append(attrs, slog.Duration("duration", time.Since(e.started)))
	e.logging.logger.LogAttrs(ctx, level, e.message, append(attrs, e.attrs...)...)
}

// errPanicked is logged as the error of a call that panicked.
var errPanicked = errors.NewErrorf(errors.Internal, "panic")

// endOrPanic must be called by a defer statement. It writes the log line when the deferring
// function ends. If the function has returned, *returned must be true, and the line contains the
// error *err. Otherwise the function has panicked, and the line contains errPanicked. endOrPanic
// does not recover the panic.
func (e *entry) endOrPanic(ctx context.Context, returned *bool, err *error) {
	if !*returned {
		e.end(ctx, errPanicked)
		return
	}
	e.end(ctx, *err)
}

type logging struct {
	logger   *slog.Logger
	level    func(dynamic.RPCInfo, errors.ErrorCode) slog.Level
	payloads bool
}

func (l *logging) begin(message, side string, info dynamic.RPCInfo) *entry {
	return &entry{logging: l, message: message, side: side, info: info, started: time.Now()}
}
