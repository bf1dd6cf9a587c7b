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
	maxLine        = 128 << 10 // bytes of a line that are looked at
	maxLoggedLine  = 4 << 10   // bytes of a line that are logged
	linesPerSecond = 200
	tailLines      = 10
)

// readLines calls handle with each line, of a long one with its beginning. The line is handle's until it returns.
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

// output logs what a process writes, no faster than a log should have it, and keeps the last lines.
type output struct {
	logger *slog.Logger

	mu          sync.Mutex
	windowStart time.Time // when the second began that lines are counted in
	lines       int
	dropped     int
	tail        []string // of stderr
}

func (o *output) stdout(line []byte) { o.logLine("stdout", line) }

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

func truncate(line []byte) string {
	return strings.ToValidUTF8(string(line[:min(len(line), maxLoggedLine)]), "\uFFFD")
}

func (o *output) logLine(stream string, line []byte) {
	allowed, dropped := o.allowLine()
	if dropped > 0 {
		o.logger.Warn("dynpsrpc: the plugin writes too much", slog.Int("lines_dropped", dropped))
	}
	if allowed {
		o.logger.LogAttrs(context.Background(), slog.LevelInfo, "dynpsrpc: the plugin says",
			slog.String("stream", stream), slog.String("line", truncate(line)))
	}
}

// allowLine returns also how many lines were dropped in the second before, when that is over.
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

// lastLines returns the last lines of stderr, for an error.
func (o *output) lastLines() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tail) == 0 {
		return "it wrote nothing to stderr"
	}
	return "it wrote to stderr: " + strings.Join(o.tail, "\n")
}
