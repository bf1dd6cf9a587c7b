package process

import (
	"log/slog"
	"os"
	"time"
)

const (
	// DefaultReadyTimeout is how long a process may take until it says that it is ready.
	DefaultReadyTimeout = 30 * time.Second
	// DefaultMinBackoff is the least time until a process that has ended is started again.
	DefaultMinBackoff = 100 * time.Millisecond
	// DefaultMaxBackoff is the most.
	DefaultMaxBackoff = 30 * time.Second
)

// Option configures [NewLoader].
type Option func(*options)

type options struct {
	readyTimeout           time.Duration
	minBackoff, maxBackoff time.Duration
	inheritedEnv           []string
	directory              string
	logger                 *slog.Logger
}

func newOptions(opts []Option) options {
	o := options{
		readyTimeout: DefaultReadyTimeout, minBackoff: DefaultMinBackoff, maxBackoff: DefaultMaxBackoff,
		inheritedEnv: []string{"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"},
		directory:    os.TempDir(),
		logger:       slog.Default(),
	}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// WithReadyTimeout sets how long a process may take until it says that it is ready. The default, also for 0 or less, is
// [DefaultReadyTimeout].
func WithReadyTimeout(timeout time.Duration) Option {
	return func(o *options) {
		if timeout > 0 {
			o.readyTimeout = timeout
		}
	}
}

// WithBackoff sets how long it takes until a process that has ended is started again: least at first, then twice as
// long each time, up to most, with jitter. The defaults, also for 0 or less, are [DefaultMinBackoff] and
// [DefaultMaxBackoff].
func WithBackoff(minimum, maximum time.Duration) Option {
	return func(o *options) {
		if minimum > 0 {
			o.minBackoff = minimum
		}
		if maximum > 0 {
			o.maxBackoff = maximum
		}
		o.maxBackoff = max(o.minBackoff, o.maxBackoff)
	}
}

// WithInheritedEnv names more variables of the host's environment that processes get.
func WithInheritedEnv(names ...string) Option {
	return func(o *options) { o.inheritedEnv = append(o.inheritedEnv, names...) }
}

// WithDirectory sets where private copies of executables are. Programs in it must be allowed to run. The default, also
// for "", is os.TempDir().
func WithDirectory(directory string) Option {
	return func(o *options) {
		if directory != "" {
			o.directory = directory
		}
	}
}

// WithLogger sets where the output of processes goes. The default, also for nil, is slog.Default().
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) {
		if logger != nil {
			o.logger = logger
		}
	}
}
