package gateway

import (
	"net/http"
	"time"
)

// deadlineWriter is an http.ResponseWriter whose writes fail if the client does not accept them in
// time. A client that reads too slowly therefore cannot hold up a call for ever.
type deadlineWriter struct {
	http.ResponseWriter

	controller *http.ResponseController
	timeout    time.Duration
}

func newDeadlineWriter(w http.ResponseWriter, timeout time.Duration) *deadlineWriter {
	return &deadlineWriter{ResponseWriter: w, controller: http.NewResponseController(w), timeout: timeout}
}

func (w *deadlineWriter) extend() {
	if w.timeout > 0 {
		// A ResponseWriter without deadlines, such as that of a test, needs none.
		_ = w.controller.SetWriteDeadline(time.Now().Add(w.timeout))
	}
}

// Write implements http.ResponseWriter.
func (w *deadlineWriter) Write(data []byte) (int, error) {
	w.extend()
	return w.ResponseWriter.Write(data)
}

// Flush implements http.Flusher.
func (w *deadlineWriter) Flush() { _ = w.FlushError() }

// FlushError sends what has been written to the client.
func (w *deadlineWriter) FlushError() error {
	w.extend()
	return w.controller.Flush()
}

// Unwrap returns the original writer, for http.ResponseController.
func (w *deadlineWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// end removes the deadline, because the connection may be used for further requests.
func (w *deadlineWriter) end() { _ = w.controller.SetWriteDeadline(time.Time{}) }
