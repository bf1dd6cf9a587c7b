package wasm

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
)

const (
	// maxLineLength is the maximum length of a line of output, in bytes. Longer lines are split.
	maxLineLength = 4 << 10
	// maxLogPerRequest is the maximum amount of log output for one request, in bytes.
	maxLogPerRequest = 64 << 10
	// lineOverhead is the number of bytes that are counted for each message in addition to its
	// length. The limit maxLogPerRequest therefore also limits the number of short messages.
	lineOverhead = 64
)

// guestLog writes the log output of an instance to the host's logger. It limits the output of each
// request, so that a plugin that never stops logging cannot fill the host's disk.
type guestLog struct {
	logger *slog.Logger
	// ctx is the context of the current request. It is stored because lineWriter.Write has no
	// context parameter.
	ctx context.Context //nolint:containedctx // see above
	// remaining is the number of bytes that the current request may still log.
	remaining int
	// crash contains the beginning of the report that Go's runtime writes to standard error before
	// it ends a module. It is empty if there is no report.
	crash []byte
}

// reset prepares the log for a new request with the context ctx. The request may log up to
// maxLogPerRequest bytes.
func (l *guestLog) reset(ctx context.Context) {
	l.ctx, l.remaining = ctx, maxLogPerRequest
}

// writeError logs a line that the module has written to standard error. If the line belongs to a
// crash report, writeError instead adds it to the field crash. logCrash later logs the report as
// one message. A report may have hundreds of lines; only its beginning is kept.
func (l *guestLog) writeError(line string) {
	if len(l.crash) == 0 && !beginsCrash(line) {
		l.write(slog.LevelWarn, line)
		return
	}
	if free := maxLineLength - len(l.crash); free > 0 {
		l.crash = append(l.crash, line[:min(len(line), free)]...)
		l.crash = append(l.crash, '\n')
	}
}

// beginsCrash reports whether line is the first line of a crash report of Go's runtime.
func beginsCrash(line string) bool {
	return strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "runtime: ")
}

// logCrash logs the crash report of the request that has ended, if there is one.
func (l *guestLog) logCrash() {
	if len(l.crash) > 0 {
		l.write(slog.LevelWarn, strings.TrimSpace(string(l.crash)))
		l.crash = nil
	}
}

// writeInfo logs a line that the module has written to standard output.
func (l *guestLog) writeInfo(line string) { l.write(slog.LevelInfo, line) }

// write logs a message. It drops empty messages. If the request exceeds its limit with this
// message, write logs one warning and drops this message and all later ones.
func (l *guestLog) write(level slog.Level, message string) {
	if l.remaining <= 0 || message == "" {
		return
	}
	l.remaining -= len(message) + lineOverhead
	if l.remaining <= 0 {
		l.logger.WarnContext(l.ctx, "dynpsrpc: plugin logged too much in one request, the rest is dropped")
		return
	}
	l.logger.Log(l.ctx, level, strings.ToValidUTF8(message, "\uFFFD"))
}

// lineWriter logs the lines that are written to standard output or standard error. The beginning of
// a line is kept until its end is written, possibly in a later request.
type lineWriter struct {
	log *guestLog
	// write logs a line. It is the method writeInfo or writeError of log.
	write func(line string)
	line  []byte
}

// Write implements io.Writer. It always succeeds. Output beyond the request's limit is dropped.
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
			w.write(strings.TrimRight(string(w.line), "\r"))
			w.line = w.line[:0]
		}
	}
	return size, nil
}
