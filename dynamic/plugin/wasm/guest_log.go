package wasm

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
)

const (
	// maxLineLength is the longest line of output, in bytes; what is longer is cut into several.
	maxLineLength = 4 << 10
	// maxLogPerRequest is what one request may log, in bytes.
	maxLogPerRequest = 64 << 10
	// lineOverhead is what a line counts besides its bytes.
	lineOverhead = 64
)

// guestLog takes what an instance writes to the host's log.
type guestLog struct {
	logger *slog.Logger
	ctx    context.Context //nolint:containedctx // of the request
	remaining   int             // what the request may still log, in bytes
}

// reset is called for each request.
func (j *guestLog) reset(ctx context.Context) {
	j.ctx, j.remaining = ctx, maxLogPerRequest
}

// write logs a message, unless the request has logged too much.
func (j *guestLog) write(level slog.Level, message string) {
	if j.remaining <= 0 || message == "" {
		return
	}
	j.remaining -= len(message) + lineOverhead
	if j.remaining <= 0 {
		j.logger.WarnContext(j.ctx, "dynpsrpc: what else a plugin's instance logs for this request is left out")
		return
	}
	j.logger.Log(j.ctx, level, strings.ToValidUTF8(message, "\uFFFD"))
}

// lineWriter logs lines. What is left without an end of line is logged when that comes.
type lineWriter struct {
	log *guestLog
	level   slog.Level
	line    []byte
}

// Write never fails.
func (w *lineWriter) Write(output []byte) (int, error) {
	size := len(output)
	for len(output) > 0 && w.log.remaining > 0 {
		line, rest, ended := bytes.Cut(output, []byte{'\n'})
		free := maxLineLength - len(w.line)
		if len(line) > free {
			line, rest, ended = output[:free], output[free:], true
		}
		w.line = append(w.line, line...)
		output = rest
		if ended {
			w.log.write(w.level, strings.TrimRight(string(w.line), "\r"))
			w.line = w.line[:0]
		}
	}
	return size, nil
}
