package process

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// maxLine is the maximum number of bytes of a line that are kept. A longer line cannot report
	// that the process is ready.
	maxLine = 128 << 10
	// maxLoggedLine is the maximum number of bytes of a line that are logged.
	maxLoggedLine = 4 << 10
	// linesPerSecond is the maximum number of lines that are logged per second.
	linesPerSecond = 200
	// tailLines is the maximum number of lines of standard error that an error contains.
	tailLines = 10
)

// readLines calls handle for each line that it reads. Lines longer than maxLine are truncated.
// handle must not use the line after it has returned.
func readLines(from io.Reader, handle func(line []byte)) {
	reader := bufio.NewReaderSize(from, maxLine)
	for {
		line, err := reader.ReadSlice('\n')
		if len(line) > 0 {
			handle(bytes.TrimRight(line, "\r\n"))
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = reader.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

// output logs the output of a process at a limited rate and keeps the last lines of its standard
// error.
type output struct {
	logger *slog.Logger

	mu sync.Mutex
	// windowStart is the start of the current one-second window for the rate limit. In this window,
	// lines is the number of lines received, and dropped is the number of lines that were not
	// logged.
	windowStart time.Time
	lines       int
	dropped     int
	// tail contains the last lines of standard error, oldest first.
	tail []string
}

// stdout handles a line of standard output.
func (o *output) stdout(line []byte) { o.logLine("stdout", line) }

// stderr handles a line of standard error.
func (o *output) stderr(line []byte) {
	text := truncate(line)
	o.mu.Lock()
	if len(o.tail) == tailLines {
		o.tail = o.tail[1:]
	}
	o.tail = append(o.tail, text)
	o.mu.Unlock()
	o.logLine("stderr", line)
}

// truncate returns the first maxLoggedLine bytes of a line as valid UTF-8.
func truncate(line []byte) string {
	return strings.ToValidUTF8(string(line[:min(len(line), maxLoggedLine)]), "\uFFFD")
}

// logLine logs a line unless the rate limit has been reached.
func (o *output) logLine(stream string, line []byte) {
	allowed, dropped := o.allowLine()
	if dropped > 0 {
		o.logger.Warn("dynpsrpc: plugin output exceeds the log rate limit", slog.Int("lines_dropped", dropped))
	}
	if allowed {
		o.logger.LogAttrs(context.Background(), slog.LevelInfo, "dynpsrpc: plugin output",
			slog.String("stream", stream), slog.String("line", truncate(line)))
	}
}

// allowLine counts a line and reports whether the line may be logged. If the line starts a new
// one-second window, dropped is the number of lines that were dropped in the previous window.
func (o *output) allowLine() (allowed bool, dropped int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := time.Now(); now.Sub(o.windowStart) >= time.Second {
		dropped = o.dropped
		o.windowStart, o.lines, o.dropped = now, 0, 0
	}
	if o.lines++; o.lines <= linesPerSecond {
		return true, dropped
	}
	o.dropped++
	return false, dropped
}

// lastLines returns the last lines of standard error as part of an error message.
func (o *output) lastLines() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tail) == 0 {
		return "it wrote nothing to stderr"
	}
	return "it wrote to stderr: " + strings.Join(o.tail, "\n")
}
