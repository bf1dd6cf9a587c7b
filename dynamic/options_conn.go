package dynamic

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// DefaultClientTimeout is the timeout of a call whose context has no deadline and for which no
// timeout is set.
const DefaultClientTimeout = 3 * time.Second

type connOptions struct {
	id string
	// timeout is 0 unless WithClientTimeout sets it.
	timeout          time.Duration
	selectionTimeout time.Duration
	maxFrameSize     int // bytes; 0: no limit
	// keepalive is the argument of WithKeepalive, see keepaliveInterval.
	keepalive     time.Duration
	requestHooks  []RequestHook
	responseHooks []ResponseHook
	interceptors  clientInterceptors
	logger        *slog.Logger
}

// adaptiveSelection returns the timeouts of a selection by affinity for which the call sets no
// SelectionOpts.
func (o *connOptions) adaptiveSelection() SelectionOpts {
	return SelectionOpts{AffinityTimeout: o.selectionTimeout, ShortCircuitTimeout: DefaultShortCircuitTimeout}
}

func newConnOptions(opts []ConnOption) connOptions {
	o := connOptions{selectionTimeout: DefaultSelectionTimeout, logger: slog.Default()}
	for _, opt := range opts {
		opt.applyConn(&o)
	}
	if o.id == "" {
		o.id = id.NewClient()
	}
	return o
}

type connOption func(*connOptions)

func (f connOption) applyConn(o *connOptions) { f(o) }

// WithClientID sets the id that identifies the client on the bus. It must be unique on the bus. The
// default, also for an empty id, is a random id.
func WithClientID(id string) ConnOption {
	return connOption(func(o *connOptions) { o.id = id })
}

// WithClientTimeout sets the timeout of every call of the conn. A call ends at the timeout or at
// the deadline of its context, whichever is earlier. By default, and for zero or negative values, a
// call ends at the deadline of its context, or after [DefaultClientTimeout] if the context has no
// deadline.
func WithClientTimeout(timeout time.Duration) ConnOption {
	return connOption(func(o *connOptions) { o.timeout = max(timeout, 0) })
}

// WithSelectionTimeout limits how long a call without [SelectionOpts] waits for claims. The
// default, also for zero or negative values, is [DefaultSelectionTimeout].
func WithSelectionTimeout(timeout time.Duration) ConnOption {
	return connOption(func(o *connOptions) {
		if timeout > 0 {
			o.selectionTimeout = timeout
		}
	})
}

// ConnOption configures [NewConn].
type ConnOption interface{ applyConn(o *connOptions) }

// WithRequestHooks adds hooks that are called with each request, in the given order. psrpc has the
// same hooks; interceptors can do more, see [ClientRPCInterceptor].
func WithRequestHooks(hooks ...RequestHook) ConnOption {
	return connOption(func(o *connOptions) { o.requestHooks = append(o.requestHooks, hooks...) })
}

// WithResponseHooks adds hooks that are called with each response or error, in the given order.
func WithResponseHooks(hooks ...ResponseHook) ConnOption {
	return connOption(func(o *connOptions) { o.responseHooks = append(o.responseHooks, hooks...) })
}

// maxTimeout is the longest timeout of a call; longer ones are shortened to it. The expiry of a
// request is a Unix time in nanoseconds, which ends in the year 2262.
const maxTimeout = 100 * 365 * 24 * time.Hour
