package dynamic

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// DefaultServerTimeout is the default of [WithServerTimeout].
const DefaultServerTimeout = 3 * time.Second

type serverOptions struct {
	id            string
	timeout       time.Duration
	logger        *slog.Logger
	maxFrameSize  int // bytes; 0: no limit
	maxConcurrent int // requests; 0: no limit
	// keepalive is the argument of WithKeepalive, see keepaliveInterval.
	keepalive    time.Duration
	interceptors serverInterceptors
}

func newServerOptions(opts []ServerOption) serverOptions {
	o := serverOptions{timeout: DefaultServerTimeout, logger: slog.Default()}
	for _, opt := range opts {
		opt.applyServer(&o)
	}
	if o.id == "" {
		o.id = id.NewServer()
	}
	return o
}

type serverOption func(*serverOptions)

func (f serverOption) applyServer(o *serverOptions) { f(o) }

type registerOptions struct {
	wireName     string
	allowMissing bool
	interceptors serverInterceptors
}

func newRegisterOptions(opts []RegisterOption) (o registerOptions) {
	for _, opt := range opts {
		opt.applyRegister(&o)
	}
	return o
}

// service returns the service to register for the first argument of Register.
func (o *registerOptions) service(descriptor any) (*registry.Service, error) {
	service, isService := descriptor.(*registry.Service)
	switch {
	case isService && service == nil:
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"the service is nil: was the name passed to Registry.Service registered?")
	case isService && o.wireName == "":
		return service, nil
	case isService:
		return registry.NewService(service.Descriptor(), registry.WithWireName(o.wireName))
	case o.wireName != "":
		return registry.NewService(descriptor, registry.WithWireName(o.wireName))
	default:
		return registry.NewService(descriptor)
	}
}

type registerOption func(*registerOptions)

func (f registerOption) applyRegister(o *registerOptions) { f(o) }

// WithServerID sets the id that identifies the server on the bus. It must be unique on the bus. The
// default, also for an empty id, is a random id.
func WithServerID(id string) ServerOption {
	return serverOption(func(o *serverOptions) { o.id = id })
}

// WithServerTimeout limits how long the server waits for the bus: for the confirmation of
// subscriptions in Register, for the acknowledgement of stream messages, and for a busy bus to take
// a response. The default, also for zero or negative values, is [DefaultServerTimeout].
func WithServerTimeout(timeout time.Duration) ServerOption {
	return serverOption(func(o *serverOptions) {
		if timeout > 0 {
			o.timeout = timeout
		}
	})
}

// WithMaxConcurrentRequests limits the requests that the server handles at the same time. While the
// server is at its limit, it leaves requests that servers claim to other servers. It answers all
// other requests, which include those of dynpsrpc clients to queue methods, with
// resource_exhausted, see [IsUnprocessed]. The default, also for zero or negative values, is no
// limit. See [WithMaxConcurrent] for a limit of one method.
func WithMaxConcurrentRequests(requests int) ServerOption {
	return serverOption(func(o *serverOptions) { o.maxConcurrent = max(requests, 0) })
}

// AllowMissing allows a service to be registered with handlers for only some of its methods. The
// other methods answer with the code unimplemented. If other servers on the bus have handlers for
// them, both kinds of servers receive requests.
func AllowMissing() RegisterOption {
	return registerOption(func(o *registerOptions) { o.allowMissing = true })
}

// WithWireName sets the name of the service on the bus. The default, as in psrpc, is the simple
// name of the descriptor in CamelCase, without the package. Clients must use the same name, see
// [registry.WithWireName].
func WithWireName(name string) RegisterOption {
	return registerOption(func(o *registerOptions) { o.wireName = name })
}

// ServerOption configures [NewServer].
type ServerOption interface{ applyServer(o *serverOptions) }

// RegisterOption configures [Server.Register] and [Registration.Replace].
type RegisterOption interface{ applyRegister(o *registerOptions) }
