package wasm

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
)

const (
	// maxLine is the longest line of output, in bytes; what is longer is cut into several.
	maxLine = 4 << 10
	// maxOutput is what one request may log, in bytes.
	maxOutput = 64 << 10
	// lineCost is what a line counts besides its bytes.
	lineCost = 64
)

// journal takes what an instance writes to the host's log.
type journal struct {
	logger *slog.Logger
	ctx    context.Context //nolint:containedctx // of the request
	left   int             // what the request may still log, in bytes
}

// begin is called for each request.
func (j *journal) begin(ctx context.Context) {
	j.ctx, j.left = ctx, maxOutput
}

// write logs a message, unless the request has logged too much.
func (j *journal) write(level slog.Level, message string) {
	if j.left <= 0 || message == "" {
		return
	}
	j.left -= len(message) + lineCost
	if j.left <= 0 {
		j.logger.WarnContext(j.ctx, "dynpsrpc: what else a plugin's instance logs for this request is left out")
		return
	}
	j.logger.Log(j.ctx, level, strings.ToValidUTF8(message, "\uFFFD"))
}

// lineWriter logs lines. What is left without an end of line is logged when that comes.
type lineWriter struct {
	journal *journal
	level   slog.Level
	line    []byte
}

// Write never fails.
func (w *lineWriter) Write(output []byte) (int, error) {
	size := len(output)
	for len(output) > 0 && w.journal.left > 0 {
		line, rest, ended := bytes.Cut(output, []byte{'\n'})
		room := maxLine - len(w.line)
		if len(line) > room {
			line, rest, ended = output[:room], output[room:], true
		}
		w.line = append(w.line, line...)
		output = rest
		if ended {
			w.journal.write(w.level, strings.TrimRight(string(w.line), "\r"))
			w.line = w.line[:0]
		}
	}
	return size, nil
}
