package guest

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
)

// Log writes a message to the host's log, at the level.
func Log(level slog.Level, message string) {
	hostLog(level, message)
}

// Logger returns a logger that writes to the host's log, which decides what levels it keeps. A program that logs with the
// functions of package slog calls slog.SetDefault with it.
func Logger() *slog.Logger {
	line := &logLine{}
	return slog.New(logHandler{line: line, attributes: slog.NewTextHandler(&line.text, &slog.HandlerOptions{
		Level:       slog.Level(-128),
		ReplaceAttr: onlyAttributes,
	})})
}

// logHandler writes the message of a record, and after it what a text handler makes of its attributes.
type logHandler struct {
	line       *logLine
	attributes slog.Handler
}

// logLine is where the attributes of one record are put together.
type logLine struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// onlyAttributes leaves out what a text handler adds by itself.
func onlyAttributes(groups []string, attribute slog.Attr) slog.Attr {
	_, isLevel := attribute.Value.Any().(slog.Level)
	added := attribute.Key == slog.LevelKey && isLevel || attribute.Key == slog.MessageKey && attribute.Value.String() == ""
	if len(groups) == 0 && added {
		return slog.Attr{}
	}
	return attribute
}

func (h logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h logHandler) Handle(ctx context.Context, record slog.Record) error {
	attributes := slog.Record{Level: record.Level} // without a time, which the host adds
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
