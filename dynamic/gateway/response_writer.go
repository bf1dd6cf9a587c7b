package gateway

import (
	"net/http"
	"time"
)

// responseWriter is an http.ResponseWriter whose writes fail if the client does not accept them in
// time. A client that reads too slowly therefore cannot block a call forever. It also records what
// is written, for the access log.
type responseWriter struct {
	http.ResponseWriter

	controller *http.ResponseController
	timeout    time.Duration
	overHTTP2  bool
	// status is the HTTP status, or 0 if no header has been written. size is the number of bytes of
	// the body that have been written.
	status int
	size   int64
}

func newResponseWriter(w http.ResponseWriter, timeout time.Duration) *responseWriter {
	return &responseWriter{ResponseWriter: w, controller: http.NewResponseController(w), timeout: timeout}
}

func (w *responseWriter) extend() {
	if w.timeout > 0 {
		// Ignore the error: a ResponseWriter that does not support deadlines, such as one in a
		// test, is used without one.
		_ = w.controller.SetWriteDeadline(time.Now().Add(w.timeout))
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *responseWriter) Write(data []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.extend()
	n, err := w.ResponseWriter.Write(data)
	w.size += int64(n)
	return n, err
}

// Flush implements http.Flusher.
func (w *responseWriter) Flush() { _ = w.FlushError() }

// FlushError sends what has been written to the client. Over HTTP/2, it removes the deadline
// afterwards, because a deadline that passes would end the stream even if nothing is being written.
func (w *responseWriter) FlushError() error {
	w.extend()
	if w.overHTTP2 {
		defer func() { _ = w.controller.SetWriteDeadline(time.Time{}) }()
	}
	return w.controller.Flush()
}

// Unwrap returns the original writer, for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// end sets the deadline for what net/http still has to send after the handler has returned. net/http
// then removes the deadline, because the connection may be used for further requests.
func (w *responseWriter) end() { w.extend() }
