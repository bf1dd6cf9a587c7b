package natsbus

import (
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// If the NATS server denies a SUB or PUB, it sends an -ERR message later. nats.go stores it as
// LastError and then calls the connection's error handler on another goroutine. Subscribe must
// return the error, although a SUB has no reply. The -ERR precedes the PONG of the next flush, so
// LastError is set when that flush succeeds. The bus then only waits for the error handler.

// handlerTimeout limits how long the bus waits for nats.go to call the error handler.
const handlerTimeout = time.Second

// refusalTimeout limits how long Subscribe waits for the error handler while LastError says that
// there are too many subscriptions. If this error belongs to a previous Subscribe, the handler is
// not called again.
const refusalTimeout = 250 * time.Millisecond

// deniedSubject matches the text of a permission error, which nats.go does not parse.
var deniedSubject = regexp.MustCompile(`(Subscription|Publish) to "([^"]+)"(?: using queue "([^"]+)")?`)

// asyncErrors records the last error that nats.go has passed to the bus's error handler.
type asyncErrors struct {
	// mu guards the fields below.
	mu   sync.Mutex
	last error
	// refusals counts the subscriptions that the server has refused because the connection or its
	// account has too many.
	refusals uint64
	// changed is closed and replaced whenever an error is recorded.
	changed chan struct{}
	// skipped is an error for which the bus does not wait, because nats.go may never pass it to the
	// error handler. Initially, it is the LastError that the connection had before the bus used it.
	// Later, it is the last error that did not reach the handler in time.
	skipped error
}

func (a *asyncErrors) record(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = err
	if errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		a.refusals++
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// seen reports whether err has already been recorded or skipped. If so, the bus need not wait for
// it. The returned channel is closed when the next error is recorded.
func (a *asyncErrors) seen(err error) (bool, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return err == a.last || err == a.skipped, a.changed //nolint:errorlint // identity is intended
}

func (a *asyncErrors) skip(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.skipped = err
}

// refused returns the number of subscriptions that the server has refused. The returned channel is
// closed when the next error is recorded.
func (a *asyncErrors) refused() (uint64, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refusals, a.changed
}

// wrapErrorHandler wraps the error handler of nc: the wrapper calls the previous handler and then
// handle. After detach has been called, the wrapper only calls the previous handler. The wrapper is
// never removed, because the program may have wrapped it in another handler.
func wrapErrorHandler(nc *nats.Conn, handle func(error)) (detach func()) {
	previous := nc.ErrorHandler()
	var attached atomic.Pointer[func(error)]
	attached.Store(&handle)
	nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		if previous != nil {
			previous(nc, sub, err)
		}
		if handle := attached.Load(); handle != nil {
			(*handle)(err)
		}
	})
	return func() { attached.Store(nil) }
}

func permissionError(err error) error {
	return errors.NewErrorf(errors.PermissionDenied, "the nats server denied permission: %w", err)
}

// isDenied reports whether err says that the server has denied a publication on a private subject,
// so that no process has received the frame.
func isDenied(err error) bool { return errors.Is(err, nats.ErrPermissionViolation) }
