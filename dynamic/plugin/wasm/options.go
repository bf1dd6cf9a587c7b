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
	// DefaultTimeout bounds a request unless the manifest says otherwise.
	DefaultTimeout = 10 * time.Second
	// DefaultMemory is the memory of an instance, in bytes, unless the manifest says otherwise.
	DefaultMemory = 64 << 20
	// DefaultMaxResponse is the longest response, in bytes, that a plugin may return.
	DefaultMaxResponse = 16 << 20
	// startTimeout bounds the start of an instance.
	startTimeout = 10 * time.Second
	// maxMemory is what 32 bits can address.
	maxMemory = 1 << 32
)

// Option configures [NewLoader].
type Option func(*options)

// ModuleFunc instantiates host modules in the runtime of a plugin, whose code can then import them. It is called once for
// each version that is loaded, with its source, so that it can tell plugins apart. A function of such a module may be called
// from many goroutines, gets the context of the request, and must return when that ends.
type ModuleFunc func(ctx context.Context, source *plugin.Source, runtime wazero.Runtime) error

type options struct {
	logger      *slog.Logger
	defaultLimits      plugin.Limits // where a manifest has none
	maxLimits        plugin.Limits // what a manifest may ask for; 0: anything
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
		err = errors.Join(err, fmt.Errorf("longest response is %d bytes: it must be from 1 to %d", o.maxResponse, math.MaxInt32))
	}
	maxLimits := withDefaults(o.maxLimits, o.defaultLimits)
	o.defaultLimits = plugin.Limits{
		Timeout:   min(o.defaultLimits.Timeout, maxLimits.Timeout),
		Memory:    min(o.defaultLimits.Memory, maxLimits.Memory),
		Instances: min(o.defaultLimits.Instances, maxLimits.Instances),
	}
	return o, err
}

// WithLogger sets where the loader logs, and what plugins log. The default is slog.Default.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) {
		if logger != nil {
			o.logger = logger
		}
	}
}

// WithDefaultLimits sets the limits of plugins whose manifest has none. What is 0 stays as it is: [DefaultTimeout],
// [DefaultMemory], and as many instances as Go uses processors.
func WithDefaultLimits(limits plugin.Limits) Option {
	return func(o *options) { o.defaultLimits = withDefaults(limits, o.defaultLimits) }
}

// WithMaxLimits sets the limits that a manifest may ask for at most; a plugin that asks for more is not loaded. Plugins that
// ask for nothing get no more either. What is 0 is not limited, as by default.
func WithMaxLimits(limits plugin.Limits) Option {
	return func(o *options) { o.maxLimits = limits }
}

// WithMaxResponse sets the longest response that plugins may return, in bytes. The default is [DefaultMaxResponse].
func WithMaxResponse(bytes int) Option {
	return func(o *options) { o.maxResponse = bytes }
}

// WithCacheDir keeps compiled code in a folder, which is made if it is not there, so that it need not be compiled again by
// the next process. Who can write to the folder can run machine code in this process: nobody else should be able to. By
// default compiled code is kept in memory only.
func WithCacheDir(path string) Option {
	return func(o *options) { o.cacheDir = path }
}

// WithModule gives plugins more than nothing: see [ModuleFunc]. It may be given several times.
func WithModule(instantiate ModuleFunc) Option {
	return func(o *options) { o.modules = append(o.modules, instantiate) }
}

// resolveLimits returns what a plugin may use.
func (o *options) resolveLimits(requested plugin.Limits) (plugin.Limits, error) {
	limits := withDefaults(requested, o.defaultLimits)
	if err := checkLimits(limits); err != nil {
		return limits, err
	}
	var err error
	if o.maxLimits.Timeout > 0 && limits.Timeout > o.maxLimits.Timeout {
		err = errors.Join(err, fmt.Errorf("the time limit of %s is more than %s, which this host allows",
			time.Duration(limits.Timeout), time.Duration(o.maxLimits.Timeout)))
	}
	if o.maxLimits.Memory > 0 && limits.Memory > o.maxLimits.Memory {
		err = errors.Join(err, fmt.Errorf("the memory of %d bytes is more than %d, which this host allows",
			limits.Memory, o.maxLimits.Memory))
	}
	if o.maxLimits.Instances > 0 && limits.Instances > o.maxLimits.Instances {
		err = errors.Join(err, fmt.Errorf("the %d instances are more than %d, which this host allows",
			limits.Instances, o.maxLimits.Instances))
	}
	return limits, err
}

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
		err = errors.Join(err, fmt.Errorf("the time limit is %s: it must not be negative", time.Duration(limits.Timeout)))
	}
	if limits.Memory < 0 || limits.Memory > maxMemory {
		err = errors.Join(err, fmt.Errorf("the memory is %d bytes: it must be from 0 to %d", limits.Memory, maxMemory))
	}
	if limits.Instances < 0 {
		err = errors.Join(err, fmt.Errorf("the number of instances is %d: it must not be negative", limits.Instances))
	}
	return err
}
