package dynamic

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// DefaultClientTimeout is the timeout of a call if no timeout is set and its context has no
// deadline.
const DefaultClientTimeout = 3 * time.Second

type connOptions struct {
	id string
	// timeout is the timeout set with WithClientTimeout, or 0 if the option is not used.
	timeout          time.Duration
	selectionTimeout time.Duration
	maxFrameSize     int // bytes; 0 means no limit
	// keepalive is the interval passed to WithKeepalive. See keepaliveInterval.
	keepalive     time.Duration
	requestHooks  []RequestHook
	responseHooks []ResponseHook
	interceptors  clientInterceptors
	logger        *slog.Logger
}

// adaptiveSelection returns the timeouts for calls that select a server by affinity and do not set
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

// WithClientID sets the ID that identifies the client on the bus. The ID must be unique on the bus.
// By default, or if id is empty, a random ID is used.
func WithClientID(id string) ConnOption {
	return connOption(func(o *connOptions) { o.id = id })
}

// WithClientTimeout sets the timeout for all calls on the conn. A call ends when the timeout
// expires or when its context ends, whichever happens first. By default, or if timeout is zero or
// negative, a call ends at the deadline of its context, or after [DefaultClientTimeout] if the
// context has no deadline.
func WithClientTimeout(timeout time.Duration) ConnOption {
	return connOption(func(o *connOptions) { o.timeout = max(timeout, 0) })
}

// WithSelectionTimeout limits how long a call waits for a sign that a server has received its
// request, if it does not set [SelectionOpts]. For most methods the sign is a claim. The single
// server that receives a request to a queue method sends no claim; instead, it announces a handler
// that takes longer than a fifth of a second or a quarter of timeout, whichever is shorter. If no
// sign arrives in time, the call fails with code unavailable. By default, or if timeout is zero or
// negative, [DefaultSelectionTimeout] is used.
func WithSelectionTimeout(timeout time.Duration) ConnOption {
	return connOption(func(o *connOptions) {
		if timeout > 0 {
			o.selectionTimeout = timeout
		}
	})
}

// ConnOption configures [NewConn].
type ConnOption interface{ applyConn(o *connOptions) }

// WithRequestHooks adds hooks that are called for each request, in the order given. They correspond
// to the request hooks of psrpc. Interceptors can do more; see [ClientRPCInterceptor].
func WithRequestHooks(hooks ...RequestHook) ConnOption {
	return connOption(func(o *connOptions) { o.requestHooks = append(o.requestHooks, hooks...) })
}

// WithResponseHooks adds hooks that are called for each response or error, in the order given.
func WithResponseHooks(hooks ...ResponseHook) ConnOption {
	return connOption(func(o *connOptions) { o.responseHooks = append(o.responseHooks, hooks...) })
}

// maxTimeout is the maximum timeout of a call. Longer timeouts are reduced to maxTimeout. The
// expiry of a request is sent in nanoseconds since the Unix epoch, as an int64 that cannot
// represent times after the year 2262.
const maxTimeout = 100 * 365 * 24 * time.Hour
