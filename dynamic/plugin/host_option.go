package plugin

import (
	"context"
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

const (
	// DefaultDrainTimeout is the drain timeout of hosts created without [WithDrainTimeout].
	DefaultDrainTimeout = 30 * time.Second
	// DefaultDebounce is the debounce interval of hosts created without [WithDebounce].
	DefaultDebounce = 200 * time.Millisecond
	// DefaultPollInterval is the poll interval of hosts created without [WithPollInterval].
	DefaultPollInterval = 10 * time.Second
)

// Option configures a [Host]. Pass options to [NewHost].
type Option func(*hostOptions)

type hostOptions struct {
	loaders                map[string]Loader
	onEvent                func(Event)
	drainTimeout           time.Duration
	debounce, pollInterval time.Duration
	logger                 *slog.Logger
	problems               []error
}

func newHostOptions(server *dynamic.Server, opts []Option) hostOptions {
	o := hostOptions{
		loaders: map[string]Loader{}, drainTimeout: DefaultDrainTimeout,
		debounce: DefaultDebounce, pollInterval: DefaultPollInterval,
		logger: slog.Default(),
	}
	if server != nil {
		o.logger = server.Logger()
	}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.onEvent == nil {
		o.onEvent = o.logEvent
	}
	return o
}

// WithLoaders adds plugin loaders. [NewHost] returns an error if a loader is nil or if two loaders
// have the same name.
func WithLoaders(loaders ...Loader) Option {
	return func(o *hostOptions) {
		for i, loader := range loaders {
			switch {
			case nilarg.Is(loader):
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

// WithEvents sets a function that receives the events of the host. The host calls handle for one
// event at a time, in order. It does so on a separate goroutine, so a slow function does not delay
// loads and unloads. While 256 events are queued, further events are dropped; [Host.List] still
// returns the current state. handle must not call [Host.Shutdown] or [Host.Close], because they
// wait for handle to return. By default, or if handle is nil, events are logged.
func WithEvents(handle func(Event)) Option { return func(o *hostOptions) { o.onEvent = handle } }

// WithDrainTimeout sets how long handlers may continue to run after their plugin has been replaced
// or unloaded. After that time, the contexts of the handlers are canceled. If timeout is zero or
// negative, the default of 30 seconds is used.
func WithDrainTimeout(timeout time.Duration) Option {
	return func(o *hostOptions) {
		if timeout > 0 {
			o.drainTimeout = timeout
		}
	}
}

// WithDebounce sets how long a watched folder must remain unchanged before it is read. This avoids
// loading files that are still being copied. If interval is zero or negative, the default of 200
// milliseconds is used.
func WithDebounce(interval time.Duration) Option {
	return func(o *hostOptions) {
		if interval > 0 {
			o.debounce = interval
		}
	}
}

// WithPollInterval sets how often watched folders are scanned for changes that the operating system
// did not report. Some file systems do not report changes at all. If interval is zero or negative,
// the default of 10 seconds is used.
func WithPollInterval(interval time.Duration) Option {
	return func(o *hostOptions) {
		if interval > 0 {
			o.pollInterval = interval
		}
	}
}

// WithLogger sets the logger. The host logs problems that no method can return, such as a replaced
// version whose handlers did not finish in time. It also logs events if [WithEvents] is not used.
// If logger is nil or the option is not used, the host uses the logger of its server.
func WithLogger(logger *slog.Logger) Option {
	return func(o *hostOptions) {
		if logger != nil {
			o.logger = logger
		}
	}
}

// logEvent is the event handler that the host uses by default.
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
