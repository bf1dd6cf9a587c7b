package gateway

import (
	"io"
	"net/http"
	"os"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// timedBody is the body of a request that must arrive in time. Otherwise, clients that send slowly
// could hold any number of requests.
type timedBody struct {
	io.ReadCloser

	timeout time.Duration
}

// withTimedBody returns a copy of r whose body must arrive within timeout from now.
func withTimedBody(w http.ResponseWriter, r *http.Request, timeout time.Duration) *http.Request {
	// A ResponseWriter without deadlines, such as that of a test, needs none.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout))
	timed := r.WithContext(r.Context())
	timed.Body = &timedBody{r.Body, timeout}
	return timed
}

// Read implements io.Reader. At the end of the body, net/http removes the deadline. If the body does
// not end, the deadline stays, because net/http reads the rest before it sends the response.
func (b *timedBody) Read(data []byte) (int, error) {
	n, err := b.ReadCloser.Read(data)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errors.NewErrorf(errors.DeadlineExceeded, "the request has not arrived within %s: %w", b.timeout, err)
	}
	return n, err
}

// limitedBody returns the body of a request, whose size is limited by [WithMaxRequestBytes].
func (o *options) limitedBody(r *http.Request) io.Reader {
	if o.maxRequestBytes <= 0 {
		return r.Body
	}
	return limitedReader{http.MaxBytesReader(nil, r.Body, int64(o.maxRequestBytes))}
}

// limitedReader returns an error with a code if the limit is exceeded.
type limitedReader struct{ io.Reader }

// Read implements io.Reader.
func (r limitedReader) Read(data []byte) (int, error) {
	n, err := r.Reader.Read(data)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = errors.NewErrorf(errors.ResourceExhausted, "the request has more than %d bytes", tooLarge.Limit)
	}
	return n, err
}
