package dynamic

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// DefaultClientTimeout is the timeout of a call if neither an option sets a timeout nor the context
// of the call has a deadline.
const DefaultClientTimeout = 3 * time.Second

type connOptions struct {
	id string
	// newID is the function set with WithIDGenerator, or nil. idErr is the error to report if the
	// ID that it has returned for the conn is invalid.
	newID IDGenerator
	idErr error
	// timeout is the timeout set with WithClientTimeout, or 0 if the option is not used.
	timeout          time.Duration
	selectionTimeout time.Duration
	// maxFrameSize is the maximum size of a frame in bytes. 0 means that there is no limit.
	maxFrameSize int
	compression  transport.Compression
	decompressed decompressionOptions
	// keepalive is the argument of WithKeepalive. The function keepaliveInterval interprets it.
	keepalive     time.Duration
	requestHooks  []RequestHook
	responseHooks []ResponseHook
	interceptors  clientInterceptors
	logger        *slog.Logger
	// subscriptionDefaults and streamDefaults are applied to each subscription and stream, before the
	// options that are passed to Subscribe or OpenStream.
	subscriptionDefaults, streamDefaults []RequestOption
	// discardUnknown reports whether WithDiscardUnknown is used.
	discardUnknown bool
	// allowEmptyParts reports whether AllowEmptyTopicParts is used.
	allowEmptyParts bool
}

// adaptiveSelection returns the SelectionOpts for calls that select a server by affinity, if the
// caller has not passed any.
func (o *connOptions) adaptiveSelection() SelectionOpts {
	return SelectionOpts{AffinityTimeout: o.selectionTimeout, ShortCircuitTimeout: DefaultShortCircuitTimeout}
}

// decompression returns the limits for compressed frames.
func (o *connOptions) decompression() transport.Limits {
	return transport.Limits{MaxSize: o.maxFrameSize, MaxRatio: o.decompressed.maxRatio}
}

// check returns an error that joins one error for each invalid option, or nil if all are valid.
func (o *connOptions) check() error {
	return errors.Join(o.idErr, checkID("client", o.id), o.interceptors.err, checkCompression(o.compression))
}

func newConnOptions(b bus.Bus, opts []ConnOption) connOptions {
	o := connOptions{
		selectionTimeout: DefaultSelectionTimeout, logger: bus.LoggerOf(b),
		decompressed: decompressionOptions{maxMemory: DefaultDecompressionMemory},
	}
	for _, opt := range opts {
		if opt != nil {
			opt.applyConn(&o)
		}
	}
	if o.id == "" {
		o.id, o.idErr = o.newID.ownID(ClientIDPrefix)
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
// expires or when the context of the call ends, whichever happens first. By default, or if timeout
// is zero or negative, a call ends at the deadline of its context. If the context has no deadline,
// the call ends after [DefaultClientTimeout].
func WithClientTimeout(timeout time.Duration) ConnOption {
	return connOption(func(o *connOptions) { o.timeout = max(timeout, 0) })
}

// WithSelectionTimeout limits how long a call waits for a server to confirm that it has received
// the request. If no confirmation arrives in time, the call fails with code unavailable. The limit
// applies only to calls that do not use [WithSelectionOpts]. By default, or if timeout is zero or
// negative, [DefaultSelectionTimeout] is used.
//
// For most methods, a server confirms the receipt with a claim. For a queue method, a single server
// receives the request and sends no claim. If the handler takes long, that server announces that it
// is handling the request. It does so after a fifth of a second or a quarter of timeout, whichever
// is shorter.
func WithSelectionTimeout(timeout time.Duration) ConnOption {
	return connOption(func(o *connOptions) {
		if timeout > 0 {
			o.selectionTimeout = timeout
		}
	})
}

// ConnOption configures [NewConn].
type ConnOption interface{ applyConn(o *connOptions) }

// WithRequestHooks adds hooks that are called for each request, in the order in which they are
// passed. psrpc has the same hooks. Interceptors can do more; see [ClientRPCInterceptor]. Nil hooks
// are ignored.
func WithRequestHooks(hooks ...RequestHook) ConnOption {
	return connOption(func(o *connOptions) { o.requestHooks = appendHooks(o.requestHooks, hooks) })
}

// WithResponseHooks adds hooks that are called for each response or error, in the order in which
// they are passed. Nil hooks are ignored.
func WithResponseHooks(hooks ...ResponseHook) ConnOption {
	return connOption(func(o *connOptions) { o.responseHooks = appendHooks(o.responseHooks, hooks) })
}

// appendHooks appends the hooks that are not nil to list.
func appendHooks[H any](list, hooks []H) []H {
	for _, hook := range hooks {
		if !nilarg.Is(hook) {
			list = append(list, hook)
		}
	}
	return list
}

// maxTimeout is the maximum timeout of a call. Longer timeouts are reduced to maxTimeout. The
// maximum is needed because a request contains the time at which it expires as an int64, in
// nanoseconds since the Unix epoch. An int64 cannot represent times after the year 2262.
const maxTimeout = 100 * 365 * 24 * time.Hour
