package dynamic

import (
	"log/slog"
)

// Option configures both [NewServer] and [NewConn].
type Option interface {
	ServerOption
	ConnOption
}

type frameSizeOption int

func (f frameSizeOption) applyServer(o *serverOptions) { o.maxFrameSize = int(f) }
func (f frameSizeOption) applyConn(o *connOptions)     { o.maxFrameSize = int(f) }

// WithMaxFrameSize limits the size of frames in bytes, in addition to the limit of the bus. Sending
// a larger frame fails with the code resource_exhausted. A larger frame that arrives is dropped and
// counted as a bad frame. Frames that psrpc has compressed must not be larger than the limit after
// decompression either. The default, also for zero or negative values, is no limit, except
// [bus.DefaultMaxFrameSize] after decompression.
func WithMaxFrameSize(bytes int) Option {
	return frameSizeOption(max(bytes, 0))
}

type loggerOption struct{ logger *slog.Logger }

func (l loggerOption) applyServer(o *serverOptions) { o.logger = l.logger }
func (l loggerOption) applyConn(o *connOptions)     { o.logger = l.logger }

// WithLogger sets the logger of a server or conn. A server logs panics of handlers and frames that
// it could not send. A conn logs panics of interceptors that do not reach a caller. The default,
// also for nil, is the slog.Default() of the moment at which the server or conn is created.
func WithLogger(logger *slog.Logger) Option {
	if logger == nil {
		logger = slog.Default()
	}
	return loggerOption{logger}
}

// ServiceOption configures [NewServer], for all services of the server, or [Server.Register], for
// one service.
type ServiceOption interface {
	ServerOption
	RegisterOption
}

// CommonOption configures [NewServer], [Server.Register] and [NewConn].
type CommonOption interface {
	ServiceOption
	ConnOption
}

// commonOption combines the two options of CommonOptions.
type commonOption struct {
	ServiceOption
	ConnOption
}

// CommonOptions combines an option for servers and services with one for conns.
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

// ServiceOptions combines several options. They are applied in this order.
func ServiceOptions(options ...ServiceOption) ServiceOption { return serviceOptionGroup(options) }

type connOptionGroup []ConnOption

func (g connOptionGroup) applyConn(o *connOptions) {
	for _, option := range g {
		option.applyConn(o)
	}
}

// ConnOptions combines several options. They are applied in this order.
func ConnOptions(options ...ConnOption) ConnOption { return connOptionGroup(options) }
