package wasm

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// DefaultTimeout is the time limit of a request unless the manifest sets another.
	DefaultTimeout = 10 * time.Second
	// DefaultMemory is the memory limit of an instance, in bytes, unless the manifest sets another.
	DefaultMemory = 64 << 20
	// DefaultMaxResponse is the maximum size, in bytes, of a response that a plugin returns.
	DefaultMaxResponse = 16 << 20
	// startTimeout is the time limit for starting an instance.
	startTimeout = 10 * time.Second
	// maxMemory is the size of a 32-bit address space.
	maxMemory = 1 << 32
)

// Option configures [NewLoader].
type Option func(*options)

// ModuleFunc instantiates host modules in the runtime of a plugin, so that the plugin can import
// them. It is called once for each version that is loaded; source identifies the plugin and the
// version. The functions of a host module may be called from several goroutines at once. Each gets
// the context of the request and must return when that context ends.
type ModuleFunc func(ctx context.Context, source *plugin.Source, runtime wazero.Runtime) error

type options struct {
	logger *slog.Logger
	// defaultLimits applies where a manifest sets no limit.
	defaultLimits plugin.Limits
	// maxLimits is the most that a manifest may request; a zero field means no maximum.
	maxLimits   plugin.Limits
	maxResponse int
	cacheDir    string
	modules     []ModuleFunc
}

func newOptions(opts []Option) (options, error) {
	o := options{
		logger: slog.Default(),
		defaultLimits: plugin.Limits{
			Timeout: plugin.Duration(DefaultTimeout), Memory: DefaultMemory, Instances: runtime.GOMAXPROCS(0),
		},
		maxResponse: DefaultMaxResponse,
	}
	for _, option := range opts {
		option(&o)
	}
	err := errors.Join(checkLimits(o.defaultLimits), checkLimits(o.maxLimits))
	if o.maxResponse <= 0 || o.maxResponse > math.MaxInt32 {
		err = errors.Join(err, fmt.Errorf("maximum response size is %d bytes: want 1 to %d", o.maxResponse, math.MaxInt32))
	}
	maxLimits := withDefaults(o.maxLimits, o.defaultLimits)
	o.defaultLimits = plugin.Limits{
		Timeout:   min(o.defaultLimits.Timeout, maxLimits.Timeout),
		Memory:    min(o.defaultLimits.Memory, maxLimits.Memory),
		Instances: min(o.defaultLimits.Instances, maxLimits.Instances),
	}
	return o, err
}

// WithLogger sets the logger of the loader, which also receives the log output of plugins. The
// default is slog.Default. A nil logger is ignored.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) {
		if logger != nil {
			o.logger = logger
		}
	}
}

// WithDefaultLimits sets the limits of plugins whose manifest sets none. Fields that are zero keep
// their default: [DefaultTimeout], [DefaultMemory] and GOMAXPROCS instances.
func WithDefaultLimits(limits plugin.Limits) Option {
	return func(o *options) { o.defaultLimits = withDefaults(limits, o.defaultLimits) }
}

// WithMaxLimits sets the maximum limits that a manifest may request. A plugin that requests more
// fails to load. The maximum also caps the defaults, for plugins that request nothing. Fields that
// are zero mean no maximum, which is the default.
func WithMaxLimits(limits plugin.Limits) Option {
	return func(o *options) { o.maxLimits = limits }
}

// WithMaxResponse sets the maximum size, in bytes, of the responses that plugins return. A larger
// response fails the request with [errors.Internal]. The default is [DefaultMaxResponse].
func WithMaxResponse(bytes int) Option {
	return func(o *options) { o.maxResponse = bytes }
}

// WithCacheDir stores compiled code in a directory, so that the next process does not compile it
// again. The directory is created if it is missing. Anyone who can write to the directory can run
// machine code in this process, so it must be writable for this process's user only. By default,
// compiled code is kept in memory.
func WithCacheDir(path string) Option {
	return func(o *options) { o.cacheDir = path }
}

// WithModule adds host modules that plugins can import, see [ModuleFunc]. It may be given several
// times.
func WithModule(instantiate ModuleFunc) Option {
	return func(o *options) { o.modules = append(o.modules, instantiate) }
}

// resolveLimits returns the limits of a plugin: those that its manifest requests, completed with
// the defaults. It fails if they exceed the maximum of this host.
func (o *options) resolveLimits(requested plugin.Limits) (plugin.Limits, error) {
	limits := withDefaults(requested, o.defaultLimits)
	if err := checkLimits(limits); err != nil {
		return limits, err
	}
	var err error
	if o.maxLimits.Timeout > 0 && limits.Timeout > o.maxLimits.Timeout {
		err = errors.Join(err, fmt.Errorf("timeout of %s exceeds this host's maximum of %s",
			time.Duration(limits.Timeout), time.Duration(o.maxLimits.Timeout)))
	}
	if o.maxLimits.Memory > 0 && limits.Memory > o.maxLimits.Memory {
		err = errors.Join(err, fmt.Errorf("memory of %d bytes exceeds this host's maximum of %d",
			limits.Memory, o.maxLimits.Memory))
	}
	if o.maxLimits.Instances > 0 && limits.Instances > o.maxLimits.Instances {
		err = errors.Join(err, fmt.Errorf("%d instances exceed this host's maximum of %d",
			limits.Instances, o.maxLimits.Instances))
	}
	return limits, err
}

// withDefaults returns limits with each zero field taken from defaults.
func withDefaults(limits, defaults plugin.Limits) plugin.Limits {
	if limits.Timeout == 0 {
		limits.Timeout = defaults.Timeout
	}
	if limits.Memory == 0 {
		limits.Memory = defaults.Memory
	}
	if limits.Instances == 0 {
		limits.Instances = defaults.Instances
	}
	return limits
}

func checkLimits(limits plugin.Limits) error {
	var err error
	if limits.Timeout < 0 {
		err = errors.Join(err, fmt.Errorf("timeout is %s: want zero or positive", time.Duration(limits.Timeout)))
	}
	if limits.Memory < 0 || limits.Memory > maxMemory {
		err = errors.Join(err, fmt.Errorf("memory is %d bytes: want 0 to %d", limits.Memory, maxMemory))
	}
	if limits.Instances < 0 {
		err = errors.Join(err, fmt.Errorf("number of instances is %d: want zero or positive", limits.Instances))
	}
	return err
}
