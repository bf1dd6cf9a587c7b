package dynamic

import (
	"log/slog"
	"time"
)

const (
	// DefaultClientTimeout bounds a call that has neither a context with a deadline nor a timeout of its own.
	DefaultClientTimeout = 3 * time.Second
	// DefaultServerTimeout bounds the wait for the bus when a service is registered.
	DefaultServerTimeout = 3 * time.Second
)

// ServerOption configures [NewServer].
type ServerOption interface{ applyServer(o *serverOptions) }

// ConnOption configures [NewConn].
type ConnOption interface{ applyConn(o *connOptions) }

// Option configures both [NewServer] and [NewConn].
type Option interface {
	ServerOption
	ConnOption
}

// RequestOption configures one call.
type RequestOption interface{ applyRequest(o *requestOptions) }

// RegisterOption configures [Server.Register].
type RegisterOption interface{ applyRegister(o *registerOptions) }

type frameSizeOption int

func (f frameSizeOption) applyServer(o *serverOptions) { o.maxFrameSize = int(f) }
func (f frameSizeOption) applyConn(o *connOptions)     { o.maxFrameSize = int(f) }

// WithMaxFrameSize limits the size of frames in bytes, beyond what the bus does: larger ones are not sent, which
// is an error with the code resource_exhausted, and dropped and counted as bad where they come. It is also the limit
// of a frame from psrpc after decompression. The default, also for 0 or less, is no limit, but
// [bus.DefaultMaxFrameSize] after decompression.
func WithMaxFrameSize(bytes int) Option {
	return frameSizeOption(max(bytes, 0))
}

type loggerOption struct{ logger *slog.Logger }

func (l loggerOption) applyServer(o *serverOptions) { o.logger = l.logger }
func (l loggerOption) applyConn(o *connOptions)     { o.logger = l.logger }

// WithLogger sets where a server logs panics of handlers and frames that could not be sent, and a conn the panics of
// interceptors that do not come back to a caller. The default, also for nil, is slog.Default() as it is when the server
// or conn is made.
func WithLogger(logger *slog.Logger) Option {
	if logger == nil {
		logger = slog.Default()
	}
	return loggerOption{logger}
}

// ServiceOption configures both [NewServer], for all its services, and [Server.Register], for one.
type ServiceOption interface {
	ServerOption
	RegisterOption
}

// CommonOption configures [NewServer], [Server.Register] and [NewConn].
type CommonOption interface {
	ServiceOption
	ConnOption
}

type commonOption struct {
	ServiceOption
	ConnOption
}

// CommonOptions makes one option of what it is on a server or a service, and what it is on a conn.
func CommonOptions(service ServiceOption, conn ConnOption) CommonOption {
	return commonOption{service, conn}
}

type serviceOptionGroup []ServiceOption

func (g serviceOptionGroup) applyServer(o *serverOptions) {
	for _, option := range g {
		option.applyServer(o)
	}
}

func (g serviceOptionGroup) applyRegister(o *registerOptions) {
	for _, option := range g {
		option.applyRegister(o)
	}
}

// ServiceOptions makes one option of several, in this order.
func ServiceOptions(options ...ServiceOption) ServiceOption { return serviceOptionGroup(options) }

type connOptionGroup []ConnOption

func (g connOptionGroup) applyConn(o *connOptions) {
	for _, option := range g {
		option.applyConn(o)
	}
}

// ConnOptions makes one option of several, in this order.
func ConnOptions(options ...ConnOption) ConnOption { return connOptionGroup(options) }
