package process

import (
	"log/slog"
	"os"
	"time"
)

const (
	// DefaultReadyTimeout is the default of [WithReadyTimeout].
	DefaultReadyTimeout = 30 * time.Second
	// DefaultMinBackoff is the default minimum of [WithBackoff].
	DefaultMinBackoff = 100 * time.Millisecond
	// DefaultMaxBackoff is the default maximum of [WithBackoff].
	DefaultMaxBackoff = 30 * time.Second
)

// Option configures [NewLoader].
type Option func(*options)

type options struct {
	readyTimeout           time.Duration
	minBackoff, maxBackoff time.Duration
	// inheritedEnv contains the names of the host's variables that processes get.
	inheritedEnv []string
	directory    string
	logger       *slog.Logger
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

// WithReadyTimeout sets the time within which a process must report that it is ready. The default,
// also for a zero or negative timeout, is 30 seconds.
func WithReadyTimeout(timeout time.Duration) Option {
	return func(o *options) {
		if timeout > 0 {
			o.readyTimeout = timeout
		}
	}
}

// WithBackoff sets the delay before a process that has exited is started again. The delay is
// minimum at first and doubles with each attempt, up to maximum, with jitter. The defaults, also
// for zero or negative values, are 100 milliseconds and 30 seconds.
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

// WithInheritedEnv adds names of environment variables of the host that processes get, in addition
// to those that the package documentation lists.
func WithInheritedEnv(names ...string) Option {
	return func(o *options) { o.inheritedEnv = append(o.inheritedEnv, names...) }
}

// WithDirectory sets the directory for the private copies of executables. Its file system must
// allow execution. The default, also for "", is os.TempDir().
func WithDirectory(directory string) Option {
	return func(o *options) {
		if directory != "" {
			o.directory = directory
		}
	}
}

// WithLogger sets the logger for the output of processes. The default, also for nil, is
// slog.Default().
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) {
		if logger != nil {
			o.logger = logger
		}
	}
}
