package dynamic

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

type connOptions struct {
	id               string
	timeout          time.Duration // 0: none was set
	selectionTimeout time.Duration
	maxFrameSize     int // bytes; 0: no limit
	keepalive        time.Duration
	requestHooks     []RequestHook
	responseHooks    []ResponseHook
	interceptors     clientInterceptors
	logger           *slog.Logger
}

// adaptiveSelection is how servers are chosen by affinity if the call does not say.
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

// WithClientID sets the id by which servers know the client. It must be unique on the bus. The default, also
// for an empty id, is a random one.
func WithClientID(id string) ConnOption {
	return connOption(func(o *connOptions) { o.id = id })
}

// WithClientTimeout bounds every call, together with the deadline of its context: the earlier one counts. The
// default, also for 0 or less, is the context's deadline, or [DefaultClientTimeout] if it has none.
func WithClientTimeout(timeout time.Duration) ConnOption {
	return connOption(func(o *connOptions) { o.timeout = max(timeout, 0) })
}

// WithSelectionTimeout bounds the wait for claims where a call has no SelectionOpts. The default, also for 0 or
// less, is [DefaultSelectionTimeout].
func WithSelectionTimeout(timeout time.Duration) ConnOption {
	return connOption(func(o *connOptions) {
		if timeout > 0 {
			o.selectionTimeout = timeout
		}
	})
}
