package bus

import (
	"context"
	"log/slog"

	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// Logging is implemented by buses that have a logger.
type Logging interface {
	Bus
	// Logger returns the logger of the bus. It is never nil.
	Logger() *slog.Logger
}

// LoggerOf returns the logger of b if b implements [Logging], and slog.Default() otherwise. Servers
// and conns of package dynamic log to the logger of their bus unless they have a logger of their
// own. To set the logger of everything that uses a bus, it is therefore enough to set the logger of
// the bus.
func LoggerOf(b Bus) *slog.Logger {
	if logging, ok := b.(Logging); ok && !nilarg.Is(b) {
		return logging.Logger()
	}
	return slog.Default()
}

// OpenOption configures [Open].
type OpenOption func(*openOptions)

type openOptions struct{ logger *slog.Logger }

// WithLogger sets the logger of the bus that [Open] returns, and thus of the servers and conns that
// use it; see [LoggerOf]. By default, or if logger is nil, slog.Default() is used.
func WithLogger(logger *slog.Logger) OpenOption {
	return func(o *openOptions) { o.logger = logger }
}

// WithLocalLogger sets the logger of an in-process bus, and thus of the servers and conns that use
// it; see [LoggerOf]. The bus itself logs nothing. By default, or if logger is nil, slog.Default()
// is used.
func WithLocalLogger(logger *slog.Logger) LocalOption {
	return func(b *Local) { b.logger = logger }
}

type loggerKey struct{}

// LoggerFromContext returns the logger that a [Driver] must use. ctx is the context that [Open] has
// passed to the driver. The logger is never nil.
func LoggerFromContext(ctx context.Context) *slog.Logger {
	if ctx == nil {
		return slog.Default()
	}
	if logger, ok := ctx.Value(loggerKey{}).(*slog.Logger); ok {
		return logger
	}
	return slog.Default()
}
