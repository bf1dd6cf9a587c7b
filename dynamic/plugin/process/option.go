package process

import (
	"log/slog"
	"os"
	"time"
)

const (
	// DefaultReadyTimeout is the ready timeout of loaders created without [WithReadyTimeout].
	DefaultReadyTimeout = 30 * time.Second
	// DefaultMinBackoff is the minimum restart delay of loaders created without [WithBackoff].
	DefaultMinBackoff = 100 * time.Millisecond
	// DefaultMaxBackoff is the maximum restart delay of loaders created without [WithBackoff].
	DefaultMaxBackoff = 30 * time.Second
)

// Option configures a [Loader]. Pass options to [NewLoader].
type Option func(*options)

type options struct {
	readyTimeout           time.Duration
	minBackoff, maxBackoff time.Duration
	// inheritedEnv contains the names of the environment variables that processes inherit from the
	// host.
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
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// WithReadyTimeout sets how long a process may take to report that it is ready. If timeout is zero
// or negative, the default of 30 seconds is used.
func WithReadyTimeout(timeout time.Duration) Option {
	return func(o *options) {
		if timeout > 0 {
			o.readyTimeout = timeout
		}
	}
}

// WithBackoff sets the delay before a process that has exited is restarted. The first delay is
// minimum. Each further delay is twice as long, up to maximum. All delays include jitter. If
// minimum is zero or negative, the default of 100 milliseconds is used. If maximum is zero or
// negative, the default of 30 seconds is used. If maximum is less than minimum, minimum is used for
// both.
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

// WithInheritedEnv adds names of environment variables that processes inherit from the host. The
// package documentation lists the variables that are always inherited.
func WithInheritedEnv(names ...string) Option {
	return func(o *options) { o.inheritedEnv = append(o.inheritedEnv, names...) }
}

// WithDirectory sets the directory in which the private copies of executables are created. Its file
// system must not be mounted with the option noexec. If directory is empty or the option is not
// used, the copies are created in os.TempDir().
func WithDirectory(directory string) Option {
	return func(o *options) {
		if directory != "" {
			o.directory = directory
		}
	}
}

// WithLogger sets the logger for the output of processes. If logger is nil or the option is not
// used, the loader uses slog.Default().
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) {
		if logger != nil {
			o.logger = logger
		}
	}
}
