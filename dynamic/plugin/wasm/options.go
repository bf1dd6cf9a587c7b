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
	// DefaultTimeout is the maximum duration of a request if the manifest does not set a limit.
	DefaultTimeout = 10 * time.Second
	// DefaultMemory is the memory limit of an instance, in bytes, if the manifest does not set a
	// limit.
	DefaultMemory = 64 << 20
	// DefaultMaxResponse is the default maximum size of a response, in bytes.
	DefaultMaxResponse = 16 << 20
	// startTimeout is the maximum time that an instance may take to start.
	startTimeout = 10 * time.Second
	// maxMemory is the size of a 32-bit address space, in bytes.
	maxMemory = 1 << 32
)

// Option configures a [Loader]. Options are passed to [NewLoader].
type Option func(*options)

// ModuleFunc instantiates host modules in the runtime of a plugin so that the plugin can import
// them. The function is called once for each plugin version that is loaded. source identifies the
// plugin and the version. The functions of a host module must be safe for concurrent use. They
// receive the context of the request and must return when that context ends.
type ModuleFunc func(ctx context.Context, source *plugin.Source, runtime wazero.Runtime) error

type options struct {
	logger *slog.Logger
	// defaultLimits holds the limits that apply if the manifest does not set them.
	defaultLimits plugin.Limits
	// maxLimits holds the highest limits that a manifest may request. A zero field means that there
	// is no maximum.
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
		if option != nil {
			option(&o)
		}
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

// WithLogger sets the logger for the loader and for the log output of plugins. If logger is nil or
// the option is not used, slog.Default() is used.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) {
		if logger != nil {
			o.logger = logger
		}
	}
}

// WithDefaultLimits sets the limits that apply if a plugin's manifest does not set them. If a field
// is zero, its default does not change. The defaults are [DefaultTimeout], [DefaultMemory] and
// GOMAXPROCS instances.
func WithDefaultLimits(limits plugin.Limits) Option {
	return func(o *options) { o.defaultLimits = withDefaults(limits, o.defaultLimits) }
}

// WithMaxLimits sets the highest limits that a manifest may request. A plugin that requests more is
// not loaded. Default limits above the maximum are reduced to the maximum. If a field is zero,
// there is no maximum, which is the default.
func WithMaxLimits(limits plugin.Limits) Option {
	return func(o *options) { o.maxLimits = limits }
}

// WithMaxResponse sets the maximum size of a plugin's response, in bytes. If a response is larger,
// the request fails with code [errors.Internal]. The default is [DefaultMaxResponse]. NewLoader
// returns an error if bytes is not between 1 and math.MaxInt32.
func WithMaxResponse(bytes int) Option {
	return func(o *options) { o.maxResponse = bytes }
}

// WithCacheDir stores compiled code in the directory with the given path, so that the next process
// does not have to compile it again. The directory is created if it does not exist. It must be
// writable only by the user that runs this process. Anyone who can write to it can run machine code
// in this process. By default, compiled code is kept only in memory.
func WithCacheDir(path string) Option {
	return func(o *options) { o.cacheDir = path }
}

// WithModule adds host modules that plugins can import; see [ModuleFunc]. The option may be used
// several times; each use adds further modules.
func WithModule(instantiate ModuleFunc) Option {
	return func(o *options) { o.modules = append(o.modules, instantiate) }
}

// resolveLimits returns the limits for a plugin. Limits that the manifest does not request have
// their default values. resolveLimits returns an error if a limit is invalid or exceeds the host's
// maximum.
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

// withDefaults returns a copy of limits in which each zero field has the value from defaults.
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
