package dynamic

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// DefaultClientTimeout is the timeout of a call if neither an option sets a timeout nor the context
// of the call has a deadline.
const DefaultClientTimeout = 3 * time.Second

// engineConfig returns the configuration of the engine of a conn.
func (o *connOptions) engineConfig(b bus.Bus) call.Config {
	return call.Config{
		Bus: b, ClientID: o.id, NewID: o.newID,
		Timeout: o.timeout, DefaultTimeout: DefaultClientTimeout,
		SelectionTimeout: o.selectionTimeout, ShortCircuitTimeout: DefaultShortCircuitTimeout,
		MaxFrameSize: o.maxFrameSize, Compression: o.compression, Decompression: o.decompression(),
		DecompressionMemory: int64(o.decompressed.maxMemory), Keepalive: keepaliveInterval(o.keepalive),
		Logger: o.logger,
	}
}

// check returns an error that joins one error for each invalid option, or nil if all are valid.
func (o *connOptions) check() error {
	return errors.Join(o.sharedOptions.check("client"), o.interceptors.err, o.err)
}

func newConnOptions(b bus.Bus, opts []ConnOption) connOptions {
	o := connOptions{sharedOptions: newSharedOptions(b), selectionTimeout: DefaultSelectionTimeout}
	for _, opt := range opts {
		if opt != nil {
			opt.applyConn(&o)
		}
	}
	o.setID(ClientIDPrefix)
	return o
}

// panics returns a reporter for panics in the interceptors of the conn and its calls.
func (o *connOptions) panics() panicReporter {
	return panicReporter{o.logger, o.interceptors.panics, nil}
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
// receives the request, and a dynpsrpc server then sends no claim. Instead, if the handler takes
// long, the server announces that it is handling the request. It does so after a fifth of a second
// or a quarter of timeout, whichever is shorter.
func WithSelectionTimeout(timeout time.Duration) ConnOption {
	return connOption(func(o *connOptions) {
		if timeout > 0 {
			o.selectionTimeout = timeout
		}
	})
}

// WithRequestHooks adds hooks that are called for each request, in the order in which they are
// passed. psrpc has the same hooks. Interceptors can do more; see [ClientRPCInterceptor]. Nil hooks
// are ignored.
func WithRequestHooks(hooks ...RequestHook) ConnOption {
	return connOption(func(o *connOptions) { o.requestHooks = appendNonNil(o.requestHooks, hooks...) })
}

// WithResponseHooks adds hooks that are called for each response or error, in the order in which
// they are passed. Nil hooks are ignored.
func WithResponseHooks(hooks ...ResponseHook) ConnOption {
	return connOption(func(o *connOptions) { o.responseHooks = appendNonNil(o.responseHooks, hooks...) })
}
