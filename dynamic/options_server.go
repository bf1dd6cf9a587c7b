package dynamic

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/serve"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// DefaultServerTimeout is the timeout of a server if [WithServerTimeout] is not used.
const DefaultServerTimeout = 3 * time.Second

const (
	// DefaultMaxStreams is the default of [WithMaxStreams].
	DefaultMaxStreams = 65_536
	// DefaultMaxStreamsWithoutKeepalive is the default of [WithMaxStreamsWithoutKeepalive].
	DefaultMaxStreamsWithoutKeepalive = 4_000
)

const (
	// DefaultMaxPendingClaims is the default of [WithMaxPendingClaims].
	DefaultMaxPendingClaims = 16_384
	// DefaultMaxPendingClaimBytes is the default of [WithMaxPendingClaimBytes].
	DefaultMaxPendingClaimBytes = 256 << 20
	// DefaultGrantTimeout is the default of [WithGrantTimeout].
	DefaultGrantTimeout = 2 * time.Minute
)

// engineConfig returns the configuration of a server's engine on the bus b.
func (o *serverOptions) engineConfig(b bus.Bus) serve.Config {
	return serve.Config{
		RawBus: b, ID: o.id, Logger: o.logger, Timeout: o.timeout, MaxFrameSize: o.maxFrameSize, Compression: o.compression,
		MaxCompressionRatio: o.decompressed.maxRatio, MaxDecompressed: o.decompressed.maxMemory,
		AllowEmptyParts: o.allowEmptyParts, MaxConcurrent: o.maxConcurrent,
		MaxPendingClaims: o.maxPendingClaims, MaxPendingClaimBytes: o.maxPendingClaimBytes, GrantTimeout: o.grantTimeout,
		AbandonAfter: DefaultSelectionTimeout,
		MaxStreams:   o.maxStreams, MaxSilentStreams: o.maxSilentStreams,
		StreamIdleTimeout: o.streamIdleTimeout, Keepalive: keepaliveInterval(o.keepalive),
	}
}

// check returns an error that joins one error for each invalid option, or nil if all are valid.
func (o *serverOptions) check() error {
	problems := errors.Join(o.sharedOptions.check("server"), o.interceptors.err)
	if o.service.wireName != "" {
		problems = errors.Join(problems, errors.NewErrorf(errors.InvalidArgument,
			"WithWireName configures a single service, not a server: pass it to Register"))
	}
	return problems
}

func newServerOptions(b bus.Bus, opts []ServerOption) serverOptions {
	o := serverOptions{
		sharedOptions: newSharedOptions(b), timeout: DefaultServerTimeout,
		maxPendingClaims: DefaultMaxPendingClaims, maxPendingClaimBytes: DefaultMaxPendingClaimBytes,
		grantTimeout: DefaultGrantTimeout,
		maxStreams:   DefaultMaxStreams, maxSilentStreams: DefaultMaxStreamsWithoutKeepalive,
	}
	for _, opt := range opts {
		if opt != nil {
			opt.applyServer(&o)
		}
	}
	o.setID(ServerIDPrefix)
	return o
}

type serverOption func(*serverOptions)

func (f serverOption) applyServer(o *serverOptions) { f(o) }

// newRegisterOptions applies opts to the defaults that the options of the server have set.
func newRegisterOptions(defaults registerOptions, opts []ServiceOption) registerOptions {
	o := defaults
	for _, opt := range opts {
		if opt != nil {
			opt.applyRegister(&o)
		}
	}
	return o
}

// check returns an error if an option is invalid.
func (o *registerOptions) check() error { return errors.Join(o.interceptors.err, o.err) }

// service returns the service to register. descriptor is the first argument of Server.Register.
func (o *registerOptions) service(descriptor any) (*registry.Service, error) {
	service, isService := descriptor.(*registry.Service)
	switch {
	case isService && service == nil:
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"the service is nil: was the name passed to Registry.Service registered?")
	case isService && o.wireName == "":
		return service, nil
	case isService:
		return registry.NewService(service.Descriptor(), registry.WithWireName(o.wireName))
	case o.wireName != "":
		return registry.NewService(descriptor, registry.WithWireName(o.wireName))
	default:
		return registry.NewService(descriptor)
	}
}

type registerOption func(*registerOptions)

func (f registerOption) applyServer(o *serverOptions)     { f(&o.service) }
func (f registerOption) applyRegister(o *registerOptions) { f(o) }

// WithServerID sets the ID that identifies the server on the bus. The ID must be unique on the bus.
// By default, or if id is empty, a random ID is used.
//
// On NATS, and on a Redis Cluster without sharded pub/sub, the servers of a service know each other.
// If two of them have the same ID, they log a warning.
func WithServerID(id string) ServerOption {
	return serverOption(func(o *serverOptions) { o.id = id })
}

// WithServerTimeout limits how long the server waits for the bus, for example when it subscribes in
// Register, acknowledges a stream message or sends a response. By default, or if timeout is zero or
// negative, [DefaultServerTimeout] is used.
func WithServerTimeout(timeout time.Duration) ServerOption {
	return serverOption(func(o *serverOptions) {
		if timeout > 0 {
			o.timeout = timeout
		}
	})
}

// WithMaxConcurrentRequests limits how many requests the server handles at the same time. While the
// limit is reached, the server declines requests that require a claim, so that clients select other
// servers. It answers all other requests with code resource_exhausted (see [IsUnprocessed]). For
// queue methods, only requests from psrpc clients require a claim. By default, or if requests is
// zero or negative, there is no limit. See [WithMaxConcurrent] for a limit per method.
func WithMaxConcurrentRequests(requests int) ServerOption {
	return serverOption(func(o *serverOptions) { o.maxConcurrent = max(requests, 0) })
}

// WithMaxPendingClaims limits how many claimed requests the server keeps. A claimed request waits
// until a grant from the client says which server was selected. If too many requests wait, the
// server drops the oldest and counts them in the field Evicted of [ServerStats]. It logs a warning
// about this at most once a second. By default, or if requests is zero or negative, the limit is
// [DefaultMaxPendingClaims].
func WithMaxPendingClaims(requests int) ServerOption {
	return serverOption(func(o *serverOptions) {
		if requests > 0 {
			o.maxPendingClaims = requests
		}
	})
}

// WithMaxPendingClaimBytes limits the total size, in bytes, of the encoded requests for which the
// client has not selected a server yet. If the total is larger, the server drops the oldest
// requests; see [WithMaxPendingClaims]. A single request may have any size. By default, or if bytes
// is zero or negative, the limit is [DefaultMaxPendingClaimBytes].
func WithMaxPendingClaimBytes(bytes int) ServerOption {
	return serverOption(func(o *serverOptions) {
		if bytes > 0 {
			o.maxPendingClaimBytes = bytes
		}
	})
}

// WithGrantTimeout limits how long a claimed request waits for a grant, in which the client says
// which server it has selected. After the timeout, the server drops the request, even if the
// request itself expires later. The timeout must not be shorter than the longest selection of a
// client; see [SelectionOpts]. By default, or if timeout is zero or negative, [DefaultGrantTimeout]
// is used.
func WithGrantTimeout(timeout time.Duration) ServerOption {
	return serverOption(func(o *serverOptions) {
		if timeout > 0 {
			o.grantTimeout = timeout
		}
	})
}

// WithMaxStreams limits how many streams may be open on the server at the same time. The server
// refuses further streams with code resource_exhausted and counts them in [ServerStats]. By
// default, or if streams is zero or negative, the limit is [DefaultMaxStreams].
func WithMaxStreams(streams int) ServerOption {
	return serverOption(func(o *serverOptions) {
		if streams > 0 {
			o.maxStreams = streams
		}
	})
}

// WithMaxStreamsWithoutKeepalive limits how many streams without keepalives may be open. A stream
// has no keepalives if its client has not announced an interval (see [WithKeepalive]). This is the
// case for psrpc clients and for all streams with MULTI routing. If such a client dies, its streams
// stay open until the handlers return, unless [WithStreamIdleTimeout] is used. The server refuses
// further streams with code resource_exhausted and counts them in [ServerStats]. By default, or if
// streams is zero or negative, the limit is [DefaultMaxStreamsWithoutKeepalive].
func WithMaxStreamsWithoutKeepalive(streams int) ServerOption {
	return serverOption(func(o *serverOptions) {
		if streams > 0 {
			o.maxSilentStreams = streams
		}
	})
}

// WithStreamIdleTimeout limits how long a stream without keepalives may be idle. If no frame
// arrives from the client for that time, the stream is closed with [ErrKeepaliveTimeout]. A stream
// has no keepalives if its client has not announced an interval (see [WithKeepalive]). By default,
// or if timeout is zero or negative, such a stream may be idle indefinitely, as in psrpc.
func WithStreamIdleTimeout(timeout time.Duration) ServerOption {
	return serverOption(func(o *serverOptions) { o.streamIdleTimeout = max(timeout, 0) })
}

// AllowMissing allows a service to be registered without handlers for some of its methods. If this
// server receives a request for such a method, the call fails with code unimplemented. This can
// happen even if other servers on the bus have handlers for the method.
func AllowMissing() ServiceOption {
	return registerOption(func(o *registerOptions) { o.allowMissing = true })
}

// WithWireName sets the name of the service on the bus. The default is the same as in psrpc: the
// simple name of the descriptor in CamelCase, without the package. Clients must use the same name
// (see [registry.WithWireName]). If the option is passed to [NewServer], Register returns an error.
func WithWireName(name string) ServiceOption {
	return registerOption(func(o *registerOptions) { o.wireName = name })
}
