package registry

import (
	"log/slog"
	"maps"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// DefaultMaxSourceSize is the maximum size of a .proto source in bytes, unless [WithMaxSourceSize]
// is used.
const DefaultMaxSourceSize = 4 << 20

// LoadOption configures how a [Registry] loads schemas. Pass LoadOptions to [New] or [NewLinked].
type LoadOption func(*loadOptions)

// loadOptions is the configuration of a Registry. The zero value is the default configuration.
type loadOptions struct {
	// wireNames maps the full names of services to their wire names.
	wireNames map[string]string
	// maxSourceSize is the maximum size of a .proto source in bytes. If it is 0,
	// DefaultMaxSourceSize applies.
	maxSourceSize int
	// logger is the argument of WithLogger. If it is nil, slog.Default() is used.
	logger *slog.Logger
	// lint makes the registry refuse services for which Lint returns problems.
	lint bool
}

// WithWireNames sets the names of services on the bus. The keys are full names of services, and the
// values must be valid for [WithWireName]. The names apply to all services that the registry loads,
// however it loads them. For example, a descriptor set that contains both shop.v1.Shop and
// shop.v2.Shop needs them, because the default name of both is Shop. If [Registry.Register] or
// [Registry.RegisterFile] is called with WithWireName, that name takes precedence. If WithWireNames
// is used several times, the maps are merged, and later names take precedence.
func WithWireNames(names map[string]string) LoadOption {
	return func(o *loadOptions) {
		merged := make(map[string]string, len(o.wireNames)+len(names))
		maps.Copy(merged, o.wireNames)
		maps.Copy(merged, names)
		o.wireNames = merged
	}
}

// WithMaxSourceSize sets the maximum size in bytes of a .proto source that [Registry.ParseProto]
// reads. Parsing needs many times that amount of memory. By default, or if bytes is zero or
// negative, the maximum is [DefaultMaxSourceSize].
func WithMaxSourceSize(bytes int) LoadOption {
	return func(o *loadOptions) { o.maxSourceSize = max(bytes, 0) }
}

// WithLint makes a registry refuse services about which [Lint] reports a problem. By default, the
// registry only logs a warning, because services with such schemas may already be in use.
func WithLint() LoadOption {
	return func(o *loadOptions) { o.lint = true }
}

// WithLogger sets the logger for notices about gRPC services that the registry leaves out (see
// [Registry.GRPCServices]) and for the problems that [Lint] reports. By default, or if logger is
// nil, slog.Default() is used.
func WithLogger(logger *slog.Logger) LoadOption {
	return func(o *loadOptions) { o.logger = logger }
}

// serviceOptions returns the options for a service that the registry loads. It appends the options
// given to a name set with WithWireNames, so that they take precedence.
func (o *loadOptions) serviceOptions(sd protoreflect.ServiceDescriptor, given []Option) []Option {
	name, named := o.wireNames[string(sd.FullName())]
	if !named {
		return given
	}
	return append([]Option{WithWireName(name)}, given...)
}

// sourceLimit returns the maximum size of a source in bytes.
func (o *loadOptions) sourceLimit() int {
	if o.maxSourceSize == 0 {
		return DefaultMaxSourceSize
	}
	return o.maxSourceSize
}

// log returns the logger.
func (o *loadOptions) log() *slog.Logger {
	if o.logger == nil {
		return slog.Default()
	}
	return o.logger
}
