package plugin

import (
	"context"
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// DefaultDrainTimeout is how long running handlers may go on when their plugin is replaced or unloaded.
	DefaultDrainTimeout = 30 * time.Second
	// DefaultDebounce is how long a folder must have been left alone before it is read.
	DefaultDebounce = 200 * time.Millisecond
	// DefaultPollInterval is how often folders are looked at even if nothing is told of them.
	DefaultPollInterval = 10 * time.Second
)

// Option configures [NewHost].
type Option func(*hostOptions)

type hostOptions struct {
	loaders                map[string]Loader
	onEvent                func(Event)
	drainTimeout           time.Duration
	debounce, pollInterval time.Duration
	logger                 *slog.Logger
	problems               []error
}

func newHostOptions(opts []Option) hostOptions {
	o := hostOptions{
		loaders: map[string]Loader{}, drainTimeout: DefaultDrainTimeout, debounce: DefaultDebounce, pollInterval: DefaultPollInterval,
		logger: slog.Default(),
	}
	for _, opt := range opts {
		opt(&o)
	}
	if o.onEvent == nil {
		o.onEvent = o.logEvent
	}
	return o
}

// WithLoaders adds loaders of plugins. Two of the same name are an error of NewHost.
func WithLoaders(loaders ...Loader) Option {
	return func(o *hostOptions) {
		for i, loader := range loaders {
			switch {
			case loader == nil:
				o.problems = append(o.problems, invalid("WithLoaders: loader %d is nil", i+1))
			case o.loaders[loader.Name()] != nil:
				o.problems = append(o.problems,
					errors.NewErrorf(errors.AlreadyExists, "WithLoaders: there are two loaders of the name %q", loader.Name()))
			default:
				o.loaders[loader.Name()] = loader
			}
		}
	}
}

// WithEvents gives the events of the host to a function, one at a time and in order, on a goroutine of the host. The
// host does not wait for it: when the function is 256 events behind, further ones are lost, and [Host.List] tells what
// is. The function must not call [Host.Shutdown] or [Host.Close], which wait for it. The default is to log them.
func WithEvents(handle func(Event)) Option { return func(o *hostOptions) { o.onEvent = handle } }

// WithDrainTimeout sets how long running handlers may go on when their plugin is replaced or unloaded; then their
// contexts end. The default, also for 0 or less, is [DefaultDrainTimeout].
func WithDrainTimeout(timeout time.Duration) Option {
	return func(o *hostOptions) {
		if timeout > 0 {
			o.drainTimeout = timeout
		}
	}
}

// WithDebounce sets how long a watched folder must have been left alone before it is read, so that files are not read while
// they are copied. The default, also for 0 or less, is [DefaultDebounce].
func WithDebounce(interval time.Duration) Option {
	return func(o *hostOptions) {
		if interval > 0 {
			o.debounce = interval
		}
	}
}

// WithPollInterval sets how often watched folders are looked at even if the system tells of no change: some file systems tell
// nothing. The default, also for 0 or less, is [DefaultPollInterval].
func WithPollInterval(interval time.Duration) Option {
	return func(o *hostOptions) {
		if interval > 0 {
			o.pollInterval = interval
		}
	}
}

// WithLogger sets where the host logs what has no other place, such as handlers that did not end in time, and events
// without [WithEvents]. The default, also for nil, is slog.Default().
func WithLogger(logger *slog.Logger) Option {
	return func(o *hostOptions) {
		if logger != nil {
			o.logger = logger
		}
	}
}

// logEvent is what is done with events by default.
func (o *hostOptions) logEvent(e Event) {
	level := slog.LevelInfo
	if e.Err != nil {
		level = slog.LevelWarn
	}
	attributes := []any{slog.String("plugin", e.Plugin), slog.String("version", e.Version), slog.String("folder", e.Folder)}
	if e.Err != nil {
		attributes = append(attributes, slog.Any("error", e.Err))
	}
	o.logger.Log(context.Background(), level, "dynpsrpc: plugin "+e.Kind.String(), attributes...)
}
