package dynamic

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	// DefaultClientTimeout bounds a call that has neither a context with a deadline nor a timeout of its own.
	DefaultClientTimeout = 3 * time.Second
	// DefaultServerTimeout bounds the wait for the bus when a service is registered.
	DefaultServerTimeout = 3 * time.Second
)

// ServerOption configures [NewServer].
type ServerOption interface{ applyServer(o *serverOptions) }

// ConnOption configures [NewConn].
type ConnOption interface{ applyConn(o *connOptions) }

// Option configures both [NewServer] and [NewConn].
type Option interface {
	ServerOption
	ConnOption
}

// RequestOption configures one call.
type RequestOption interface{ applyRequest(o *requestOptions) }

// RegisterOption configures [Server.Register].
type RegisterOption interface{ applyRegister(o *registerOptions) }

type serverOptions struct {
	id            string
	timeout       time.Duration
	logger        *slog.Logger
	maxFrameSize  int // bytes; 0: no limit
	maxConcurrent int // requests; 0: no limit
	keepalive     time.Duration
	interceptors  serverInterceptors
}

type connOptions struct {
	id               string
	timeout          time.Duration // 0: none was set
	selectionTimeout time.Duration
	maxFrameSize     int // bytes; 0: no limit
	keepalive        time.Duration
	requestHooks     []RequestHook
	responseHooks    []ResponseHook
	interceptors     clientInterceptors
	logger           *slog.Logger
}

// adaptiveSelection is how servers are chosen by affinity if the call does not say.
func (o *connOptions) adaptiveSelection() SelectionOpts {
	return SelectionOpts{AffinityTimeout: o.selectionTimeout, ShortCircuitTimeout: DefaultShortCircuitTimeout}
}

type requestOptions struct {
	timeout   time.Duration  // 0: none was set
	selection *SelectionOpts // nil: adaptive
	topic     []string
	hasTopic  bool
	metadata  map[string]string
	expected  int       // responses to a multi call; 0: not known
	serverIDs []*string // where the server's id goes

	bufferSize int // updates, or messages of a stream; 0: the default
	overflow   OverflowPolicy
	window     int // messages of a stream; 0: none

	interceptors *clientInterceptors // nil: none
}

type registerOptions struct {
	wireName     string
	allowMissing bool
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

func newConnOptions(opts []ConnOption) connOptions {
	o := connOptions{selectionTimeout: DefaultSelectionTimeout, logger: slog.Default()}
	for _, opt := range opts {
		opt.applyConn(&o)
	}
	if o.id == "" {
		o.id = id.NewClient()
	}
	return o
}

// newRequestOptions allocates nothing if there are none.
func newRequestOptions(opts []RequestOption) requestOptions {
	if len(opts) == 0 {
		return requestOptions{}
	}
	var o requestOptions
	for _, opt := range opts {
		opt.applyRequest(&o)
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

func newRegisterOptions(opts []RegisterOption) (o registerOptions) {
	for _, opt := range opts {
		opt.applyRegister(&o)
	}
	return o
}

type serverOption func(*serverOptions)

func (f serverOption) applyServer(o *serverOptions) { f(o) }

type connOption func(*connOptions)

func (f connOption) applyConn(o *connOptions) { f(o) }

type requestOption func(*requestOptions)

func (f requestOption) applyRequest(o *requestOptions) { f(o) }

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

// WithClientID sets the id by which servers know the client. It must be unique on the bus. The default, also
// for an empty id, is a random one.
func WithClientID(id string) ConnOption {
	return connOption(func(o *connOptions) { o.id = id })
}

// WithClientTimeout bounds every call, together with the deadline of its context: the earlier one counts. The
// default, also for 0 or less, is the context's deadline, or [DefaultClientTimeout] if it has none.
func WithClientTimeout(timeout time.Duration) ConnOption {
	return connOption(func(o *connOptions) { o.timeout = max(timeout, 0) })
}

// WithRequestTimeout bounds this call, instead of the timeout of the conn; the context's deadline still
// counts. 0 or less changes nothing.
func WithRequestTimeout(timeout time.Duration) RequestOption {
	return requestOption(func(o *requestOptions) { o.timeout = max(timeout, 0) })
}

// WithSelectionTimeout bounds the wait for claims where a call has no SelectionOpts. The default, also for 0 or
// less, is [DefaultSelectionTimeout].
func WithSelectionTimeout(timeout time.Duration) ConnOption {
	return connOption(func(o *connOptions) {
		if timeout > 0 {
			o.selectionTimeout = timeout
		}
	})
}

// WithSelectionOpts says how the server of this call or stream is chosen. All its fields count, the zero ones too.
// It is of no effect where servers do not claim: for multi calls, and for methods with a single server.
func WithSelectionOpts(opts SelectionOpts) RequestOption {
	return requestOption(func(o *requestOptions) { o.selection = &opts })
}

// WithTopic addresses this call to a topic, as [Client.Topic] does for a client.
func WithTopic(parts ...string) RequestOption {
	return requestOption(func(o *requestOptions) { o.topic, o.hasTopic = parts, true })
}

// WithExpectedResponses ends a multi call as soon as so many servers have responded. 0 or less changes nothing.
func WithExpectedResponses(n int) RequestOption {
	return requestOption(func(o *requestOptions) { o.expected = max(n, 0) })
}

// WithBufferSize sets how many updates, or one more, may wait in a subscription whose reader lags. The default, also for
// 0 or less, is as many as fit into [DefaultBacklogBytes].
func WithBufferSize(updates int) RequestOption {
	return requestOption(func(o *requestOptions) { o.bufferSize = max(updates, 0) })
}

// WithOverflow says what happens to updates that come when a subscription's buffer is full. The default is
// [DropOldest].
func WithOverflow(overflow OverflowPolicy) RequestOption {
	return requestOption(func(o *requestOptions) { o.overflow = overflow })
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

type frameSizeOption int

func (f frameSizeOption) applyServer(o *serverOptions) { o.maxFrameSize = int(f) }
func (f frameSizeOption) applyConn(o *connOptions)     { o.maxFrameSize = int(f) }

// WithMaxFrameSize limits the size of frames in bytes, beyond what the bus does: larger ones are not sent, which
// is an error with the code resource_exhausted, and dropped and counted as bad where they come. It is also the limit
// of a frame from psrpc after decompression. The default, also for 0 or less, is no limit, but
// [bus.DefaultMaxFrameSize] after decompression.
func WithMaxFrameSize(bytes int) Option {
	return frameSizeOption(max(bytes, 0))
}

// WithMaxConcurrentRequests limits the requests that the server handles at the same time. One that comes beyond is
// left to another server where servers claim requests, and otherwise answered with resource_exhausted, see [Unprocessed]. The default,
// also for 0 or less, is no limit. See [WithMaxConcurrent] for a limit of one method.
func WithMaxConcurrentRequests(requests int) ServerOption {
	return serverOption(func(o *serverOptions) { o.maxConcurrent = max(requests, 0) })
}

type loggerOption struct{ logger *slog.Logger }

func (l loggerOption) applyServer(o *serverOptions) { o.logger = l.logger }
func (l loggerOption) applyConn(o *connOptions)     { o.logger = l.logger }

// WithLogger sets where a server logs panics of handlers and frames that could not be sent, and a conn the panics of
// interceptors that do not come back to a caller. The default, also for nil, is slog.Default() as it is when the server
// or conn is made.
func WithLogger(logger *slog.Logger) Option {
	if logger == nil {
		logger = slog.Default()
	}
	return loggerOption{logger}
}
