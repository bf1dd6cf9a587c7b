package gateway

import (
	"io"
	"net/http"
	"os"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// timedBody is the body of a request that must arrive in time. Without this limit, clients that
// send slowly could keep any number of requests open.
type timedBody struct {
	io.ReadCloser

	timeout time.Duration
}

// limitBodyTime limits the time for reading the body of a request to the timeout of
// [WithMaxTimeout].
func (g *Gateway) limitBodyTime(w http.ResponseWriter, in *incoming) {
	timeout := g.options.maxTimeout
	if timeout <= 0 || !in.readsAll() {
		return
	}
	// Ignore the error: a ResponseWriter that does not support deadlines, such as one in a test, is
	// used without one.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout))
	in.request = in.request.WithContext(in.request.Context())
	in.request.Body = &timedBody{in.request.Body, timeout}
}

// Read implements io.Reader. If the deadline has passed, Read returns an error with a code. At the
// end of the body, net/http removes the deadline. Until then, the deadline must stay, because
// net/http reads the rest of the body before it sends the response.
func (b *timedBody) Read(data []byte) (int, error) {
	n, err := b.ReadCloser.Read(data)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errors.NewErrorf(errors.DeadlineExceeded, "the request has not arrived within %s: %w", b.timeout, err)
	}
	return n, err
}

// limitedBody returns a reader for the body of a request. If the body is larger than
// [WithMaxRequestBytes] allows, the reader returns an error.
func (o *options) limitedBody(r *http.Request) io.Reader {
	if o.maxRequestBytes <= 0 {
		return codedReader{r.Body}
	}
	return codedReader{http.MaxBytesReader(nil, r.Body, int64(o.maxRequestBytes))}
}

// codedReader adds an error code to the errors that occur while a body is read.
type codedReader struct{ io.Reader }

// Read implements io.Reader.
func (r codedReader) Read(data []byte) (int, error) {
	n, err := r.Reader.Read(data)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return n, errors.NewErrorf(errors.ResourceExhausted, "the request has more than %d bytes", tooLarge.Limit)
	}
	if _, ok := errors.AsType[errors.Error](err); ok {
		return n, err
	}
	return n, errors.NewErrorf(errors.InvalidArgument, "the body of the request is malformed or incomplete: %w", err)
}

// boundMessage returns the request message of a bound request as JSON.
func (o *options) boundMessage(in *incoming) ([]byte, error) {
	return in.bound.Message(o.limitedBody(in.request))
}
