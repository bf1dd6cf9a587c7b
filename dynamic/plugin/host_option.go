package plugin

import (
	"context"
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// DefaultDrainTimeout is the default of [WithDrainTimeout].
	DefaultDrainTimeout = 30 * time.Second
	// DefaultDebounce is the default of [WithDebounce].
	DefaultDebounce = 200 * time.Millisecond
	// DefaultPollInterval is the default of [WithPollInterval].
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
		loaders: map[string]Loader{}, drainTimeout: DefaultDrainTimeout,
		debounce: DefaultDebounce, pollInterval: DefaultPollInterval,
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

// WithLoaders adds loaders of plugins. NewHost returns an error if two loaders have the same name.
func WithLoaders(loaders ...Loader) Option {
	return func(o *hostOptions) {
		for i, loader := range loaders {
			switch {
			case loader == nil:
				o.problems = append(o.problems, invalid("WithLoaders: loader %d is nil", i+1))
			case o.loaders[loader.Name()] != nil:
				o.problems = append(o.problems,
					errors.NewErrorf(errors.AlreadyExists, "WithLoaders: two loaders have the name %q", loader.Name()))
			default:
				o.loaders[loader.Name()] = loader
			}
		}
	}
}

// WithEvents sets a function that receives the events of the host. The function is called for one
// event at a time, in order, on a goroutine of the host. The host does not wait for it: when 256
// events are queued, further ones are dropped; [Host.List] still returns the current state. The
// function must not call [Host.Shutdown] or [Host.Close], which wait for it. The default is to log
// events.
func WithEvents(handle func(Event)) Option { return func(o *hostOptions) { o.onEvent = handle } }

// WithDrainTimeout sets how long running handlers may continue when their plugin is replaced or
// unloaded. Afterwards their contexts end. The default, also for a zero or negative timeout, is 30
// seconds.
func WithDrainTimeout(timeout time.Duration) Option {
	return func(o *hostOptions) {
		if timeout > 0 {
			o.drainTimeout = timeout
		}
	}
}

// WithDebounce sets how long a watched folder must stay unchanged before it is read, so that
// half-copied files are not loaded. The default, also for a zero or negative interval, is 200
// milliseconds.
func WithDebounce(interval time.Duration) Option {
	return func(o *hostOptions) {
		if interval > 0 {
			o.debounce = interval
		}
	}
}

// WithPollInterval sets how often watched folders are scanned for changes that the operating system
// has not reported: some file systems report none. The default, also for a zero or negative
// interval, is 10 seconds.
func WithPollInterval(interval time.Duration) Option {
	return func(o *hostOptions) {
		if interval > 0 {
			o.pollInterval = interval
		}
	}
}

// WithLogger sets the logger for problems that no method returns, such as handlers of a replaced
// version that do not end in time, and for events if [WithEvents] is not used. The default, also
// for nil, is slog.Default().
func WithLogger(logger *slog.Logger) Option {
	return func(o *hostOptions) {
		if logger != nil {
			o.logger = logger
		}
	}
}

// logEvent is the default handler of events.
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
