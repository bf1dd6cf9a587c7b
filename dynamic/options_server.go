package dynamic

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

type serverOptions struct {
	id            string
	timeout       time.Duration
	logger        *slog.Logger
	maxFrameSize  int // bytes; 0: no limit
	maxConcurrent int // requests; 0: no limit
	keepalive     time.Duration
	interceptors  serverInterceptors
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

// service reads what Register was given.
func (o *registerOptions) service(descriptor any) (*registry.Service, error) {
	service, isService := descriptor.(*registry.Service)
	switch {
	case isService && service == nil:
		return nil, errors.NewErrorf(errors.InvalidArgument, "the service is nil")
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

// WithServerID sets the id by which clients know the server. It must be unique on the bus. The default, also
// for an empty id, is a random one.
func WithServerID(id string) ServerOption {
	return serverOption(func(o *serverOptions) { o.id = id })
}

// WithServerTimeout bounds the server's waits for the bus, such as that of Register for the broker's
// confirmation, those for the acknowledgement of stream messages, and that for a bus that is too busy to take a
// response. The default, also for 0 or less, is [DefaultServerTimeout].
func WithServerTimeout(timeout time.Duration) ServerOption {
	return serverOption(func(o *serverOptions) {
		if timeout > 0 {
			o.timeout = timeout
		}
	})
}

// WithMaxConcurrentRequests limits the requests that the server handles at the same time. One that comes beyond is
// left to another server where servers claim requests, and otherwise answered with resource_exhausted, see [Unprocessed]. The default,
// also for 0 or less, is no limit. See [WithMaxConcurrent] for a limit of one method.
func WithMaxConcurrentRequests(requests int) ServerOption {
	return serverOption(func(o *serverOptions) { o.maxConcurrent = max(requests, 0) })
}

// AllowMissing lets a service be registered without a handler for each of its methods. The others answer
// unimplemented; they do so in turn with servers that have a handler, if there are such on the bus.
func AllowMissing() RegisterOption {
	return registerOption(func(o *registerOptions) { o.allowMissing = true })
}

// WithWireName sets the service's name on the bus. The default is what psrpc uses: the descriptor's simple
// name in camel case, without its package. Clients must use the same, see [registry.WithWireName].
func WithWireName(name string) RegisterOption {
	return registerOption(func(o *registerOptions) { o.wireName = name })
}
