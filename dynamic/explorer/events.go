package explorer

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// pingInterval is how often a comment is written to a silent event stream. Comments keep proxies
// from ending the stream, and show the explorer which pages are gone.
const pingInterval = 15 * time.Second

// eventStream writes server-sent events to a page. It is not safe for concurrent use.
type eventStream struct {
	w          http.ResponseWriter
	controller *http.ResponseController
	// compressed writes to w. It is nil if the client does not accept compressed responses.
	compressed *gzip.Writer
	// ctx ends when the page is gone or the explorer is closed.
	ctx     context.Context //nolint:containedctx // it has the lifetime of the stream
	ping    *time.Ticker
	release func()
}

// openEvents starts an event stream, which counts toward the limit l. what names the streams in the
// error that is returned if there are too many. The caller must call close.
func (e *Explorer) openEvents(w http.ResponseWriter, r *http.Request, l limit, what string) (*eventStream, error) {
	free, err := l.acquire(what)
	if err != nil {
		return nil, err
	}
	if !e.tasks.start() {
		free()
		return nil, errClosed
	}
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(e.ctx, cancel)
	s := &eventStream{w: w, controller: http.NewResponseController(w), ctx: ctx, ping: time.NewTicker(pingInterval)}
	s.release = func() {
		stop()
		cancel()
		free()
		e.tasks.done()
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // makes nginx pass on each event at once
	if acceptsGzip(r) {
		header.Set("Content-Encoding", "gzip")
		s.compressed, _ = gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is valid
	}
	_ = s.write([]byte(": open\n\n")) // if the page is gone, the next write fails, too
	return s, nil
}

// close ends the stream and frees its place in the limit.
func (s *eventStream) close() {
	s.ping.Stop()
	if s.compressed != nil {
		_ = s.compressed.Close() // the page may be gone
	}
	s.release()
}

// send writes an event. It returns an error if the page has stopped reading.
func (s *eventStream) send(event string, data any) error {
	encoded, err := json.Marshal(data)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	out.WriteString("event: " + event + "\ndata: ")
	out.Write(encoded) // JSON contains no line breaks
	out.WriteString("\n\n")
	return s.write(out.Bytes())
}

// sendPing writes a comment, which pages ignore.
func (s *eventStream) sendPing() error { return s.write([]byte(": ping\n\n")) }

// write writes data and waits until the page has accepted it, for at most writeTimeout.
func (s *eventStream) write(data []byte) error {
	// Ignore the error: a ResponseWriter that does not support deadlines, such as one in a test, is
	// used without one.
	_ = s.controller.SetWriteDeadline(time.Now().Add(writeTimeout))
	// Remove the deadline. Over HTTP/2, a deadline that passes ends the stream even if nothing is
	// being written.
	defer func() { _ = s.controller.SetWriteDeadline(time.Time{}) }()
	if s.compressed == nil {
		if _, err := s.w.Write(data); err != nil {
			return err
		}
		return s.controller.Flush()
	}
	if _, err := s.compressed.Write(data); err != nil {
		return err
	}
	if err := s.compressed.Flush(); err != nil {
		return err
	}
	return s.controller.Flush()
}
