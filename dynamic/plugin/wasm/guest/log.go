package guest

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
)

// Log writes a message to the host's log at the given level.
func Log(level slog.Level, message string) {
	hostLog(level, message)
}

// Logger returns a logger that writes to the host's log. It passes on records of every level, so
// the host's logger decides which records are written. To redirect functions such as slog.Info to
// the host's log, pass the logger to slog.SetDefault.
func Logger() *slog.Logger {
	line := &logLine{}
	return slog.New(logHandler{line: line, attributes: slog.NewTextHandler(&line.text, &slog.HandlerOptions{
		Level:       slog.Level(-128),
		ReplaceAttr: dropBuiltins,
	})})
}

// logHandler is a slog.Handler that logs the message and the attributes of a record. The attributes
// have the format of slog.TextHandler.
type logHandler struct {
	line       *logLine
	attributes slog.Handler
}

// logLine is the buffer in which the attributes of a record are formatted. All slog handlers
// derived from one logger share one logLine. The mutex mu protects text.
type logLine struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// dropBuiltins removes the attributes that slog.TextHandler itself adds, which are the level and an
// empty message.
func dropBuiltins(groups []string, attribute slog.Attr) slog.Attr {
	_, isLevel := attribute.Value.Any().(slog.Level)
	added := attribute.Key == slog.LevelKey && isLevel || attribute.Key == slog.MessageKey && attribute.Value.String() == ""
	if len(groups) == 0 && added {
		return slog.Attr{}
	}
	return attribute
}

func (h logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h logHandler) Handle(ctx context.Context, record slog.Record) error {
	// This record has no time, because the host adds the time.
	attributes := slog.Record{Level: record.Level}
	record.Attrs(func(attribute slog.Attr) bool {
		attributes.AddAttrs(attribute)
		return true
	})
	h.line.mu.Lock()
	defer h.line.mu.Unlock()
	h.line.text.Reset()
	if err := h.attributes.Handle(ctx, attributes); err != nil {
		return err
	}
	message := record.Message
	if text := bytes.TrimSpace(h.line.text.Bytes()); len(text) > 0 {
		message += " " + string(text)
	}
	Log(record.Level, message)
	return nil
}

func (h logHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return logHandler{h.line, h.attributes.WithAttrs(attributes)}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.line, h.attributes.WithGroup(name)}
}
