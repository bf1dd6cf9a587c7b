package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Defaults of the options.
const (
	DefaultMaxRequestBytes   = 4 << 20
	DefaultMaxResponseBytes  = 16 << 20
	DefaultMaxBacklogBytes   = 1 << 20
	DefaultMaxTimeout        = 30 * time.Second
	DefaultWriteTimeout      = 10 * time.Second
	DefaultLinger            = 10 * time.Second
	DefaultMaxCalls          = 10_000
	DefaultMaxStreams        = 1000
	DefaultStreamsPerAddress = 100
)

// Option configures [New].
type Option func(*options)

type options struct {
	patterns          []string
	maxRequestBytes   int
	maxResponseBytes  int
	maxBacklogBytes   int
	maxTimeout        time.Duration
	writeTimeout      time.Duration
	linger            time.Duration
	maxCalls          int
	maxStreams        int
	streamsPerAddress int
	metadata          []string
	origins           []string
	anyOrigin         bool
	crossOrigin       *http.CrossOriginProtection
	authorize         func(*http.Request, *registry.Method) (context.Context, error)
	psrpcStatus       bool
	errorFacts        bool
	strictJSON        bool
	reflection        bool
	openAPI           bool
	bind              func([]*registry.Method, *slog.Logger) Bindings
	logger            *slog.Logger
	// accessLog is nil if there is no access log.
	accessLog *slog.Logger
}

func newOptions(opts []Option) (*options, error) {
	o := &options{
		maxRequestBytes: DefaultMaxRequestBytes, maxResponseBytes: DefaultMaxResponseBytes,
		maxBacklogBytes: DefaultMaxBacklogBytes,
		maxTimeout:      DefaultMaxTimeout, writeTimeout: DefaultWriteTimeout, linger: DefaultLinger,
		maxCalls: DefaultMaxCalls, maxStreams: DefaultMaxStreams, streamsPerAddress: DefaultStreamsPerAddress,
		metadata: []string{"traceparent", "tracestate", "baggage"},
		logger:   slog.Default(), crossOrigin: http.NewCrossOriginProtection(),
	}
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
	if len(o.patterns) == 0 {
		return nil, errors.NewErrorf(errors.InvalidArgument,
			`gateway: no methods to serve: use gateway.WithMethods("pkg.Service/*")`)
	}
	for _, pattern := range o.patterns {
		// The full name of a method has exactly one slash, so other patterns would match nothing.
		if _, err := path.Match(pattern, ""); err != nil || strings.Count(pattern, "/") != 1 || pattern[0] == '/' {
			return nil, errors.NewErrorf(errors.InvalidArgument, "gateway: malformed pattern %q of WithMethods", pattern)
		}
	}
	return o, o.trustOrigins()
}

// trustOrigins prepares [options.checkOrigin] from the origins of [WithCORS].
func (o *options) trustOrigins() error {
	for _, origin := range o.origins {
		if origin == "*" {
			o.anyOrigin = true
			continue
		}
		err := o.crossOrigin.AddTrustedOrigin(origin)
		if err != nil || strings.Contains(origin, "*") {
			return errors.NewErrorf(errors.InvalidArgument,
				"gateway: origin %q of WithCORS is neither a scheme and a host, such as https://app.example.com, nor *", origin)
		}
	}
	return nil
}

// checkOrigin refuses requests from web pages of other sites. A browser sends some of these
// requests without a preflight request. The method would then run, although the page cannot read
// the response. The check in net/http allows every GET request, but WebSockets and server-sent
// events use GET for calls, so checkOrigin treats each request as a POST request.
func (o *options) checkOrigin(r *http.Request) error {
	if o.anyOrigin {
		return nil
	}
	asPost := http.Request{Method: http.MethodPost, Header: r.Header, Host: r.Host}
	if err := o.crossOrigin.Check(&asPost); err != nil {
		return errors.NewErrorf(errors.PermissionDenied, "the gateway is not for web pages of other sites")
	}
	return nil
}

// serves reports whether the gateway serves the method with this full name.
func (o *options) serves(method string) bool {
	for _, pattern := range o.patterns {
		if matched, _ := path.Match(pattern, method); matched {
			return true
		}
	}
	return false
}

// WithMethods names the methods to serve. Each pattern is the full name of a method, such as
// "shop.Orders/Get". A "*" matches any characters except a slash, as in "shop.*/*"; see
// [path.Match]. If WithMethods is used several times, all of its patterns apply. Without patterns,
// [New] fails, because the gateway would serve nothing.
func WithMethods(patterns ...string) Option {
	return func(o *options) { o.patterns = append(o.patterns, patterns...) }
}

// WithAuthorize sets a function that decides whether a request may use a method. It must be safe
// for concurrent use. If it returns an error, the client gets that error, and nothing is sent on
// the bus. The error should have a code, such as [errors.Unauthenticated]. For an error without a
// code, the client gets only the code unknown.
//
// If it returns no error, the call uses the returned context, which must be derived from that of
// the request. The context may carry metadata for the servers, such as who the user is; see
// [dynamic.ContextWithMetadata]. This metadata replaces metadata with the same keys from the
// client; the keys of clients are in lower case. The function is not called for /healthz, /readyz
// and what [WithReflection] and [WithOpenAPI] serve.
func WithAuthorize(authorize func(*http.Request, *registry.Method) (context.Context, error)) Option {
	return func(o *options) { o.authorize = authorize }
}

// WithMaxRequestBytes limits the size of each message of a client, in bytes. Over SSE and NDJSON,
// the limit applies to the sum of the messages of a request. The default is
// [DefaultMaxRequestBytes]; with 0, there is no limit. Larger messages are refused with the code
// resource_exhausted.
func WithMaxRequestBytes(bytes int) Option { return func(o *options) { o.maxRequestBytes = bytes } }

// WithMaxResponseBytes limits the size of each message to a client, in bytes. The default is
// [DefaultMaxResponseBytes]; with 0, there is no limit. A call with a larger response fails with
// the code resource_exhausted.
func WithMaxResponseBytes(bytes int) Option { return func(o *options) { o.maxResponseBytes = bytes } }

// WithMaxBacklogBytes limits the total size, in bytes, of the updates that wait for a client of a
// subscription. If a client reads too slowly and more updates arrive, its subscription ends with
// the code unavailable. The client thus learns that it has missed updates. The default is
// [DefaultMaxBacklogBytes]; with 0, it is [dynamic.DefaultBacklogBytes].
func WithMaxBacklogBytes(bytes int) Option { return func(o *options) { o.maxBacklogBytes = bytes } }

// WithMaxTimeout limits the timeout of single and multi calls. Clients can ask for a shorter
// timeout, but not for a longer one. A request must also arrive within this time, unless it is a
// stream by Connect or gRPC. The default is [DefaultMaxTimeout]. With 0, the timeout of the conn
// applies, and requests may arrive slowly.
func WithMaxTimeout(timeout time.Duration) Option { return func(o *options) { o.maxTimeout = timeout } }

// WithWriteTimeout sets how long a client may take to accept what the gateway writes, before it is
// disconnected. The default is [DefaultWriteTimeout]; with 0, a client may take any time.
func WithWriteTimeout(timeout time.Duration) Option {
	return func(o *options) { o.writeTimeout = timeout }
}

// WithLinger sets how long the gateway keeps a stream open after the client's last message while
// the server sends nothing. Then the gateway closes the stream. A timeout is needed because, on the
// bus, a client cannot tell a server that it has sent its last message. The default is
// [DefaultLinger]. With 0, the stream stays open until the server closes it or the HTTP request
// ends.
func WithLinger(timeout time.Duration) Option { return func(o *options) { o.linger = timeout } }

// WithMaxCalls limits how many single calls run at the same time. A call counts from the arrival of
// its header. The default is [DefaultMaxCalls]; 0 stands for no limit. Further calls are refused
// with the code resource_exhausted, and with the header Retry-After. Multi calls, streams and
// subscriptions are limited by [WithMaxStreams].
func WithMaxCalls(calls int) Option { return func(o *options) { o.maxCalls = calls } }

// WithMaxStreams limits how many multi calls, streams and subscriptions are open at the same time:
// in total, and for each remote address. WebSockets and the streams of gRPC's reflection and health
// checks count as well. The defaults are [DefaultMaxStreams] and [DefaultStreamsPerAddress]; 0
// means that there is no limit. Requests that exceed a limit are refused with the code
// resource_exhausted.
func WithMaxStreams(all, perAddress int) Option {
	return func(o *options) { o.maxStreams, o.streamsPerAddress = all, perAddress }
}

// WithMetadataHeaders names further request headers that become metadata of the call. Their names
// become keys in lower case. The headers traceparent, tracestate and baggage always become
// metadata. So do headers whose names begin with Psrpc-Meta-; their keys lack this prefix.
// A Psrpc-Meta- header is ignored if its key is the name of another header that becomes metadata.
func WithMetadataHeaders(names ...string) Option {
	return func(o *options) {
		for _, name := range names {
			o.metadata = append(o.metadata, strings.ToLower(name))
		}
	}
}

// WithCORS allows web pages of other sites to use the gateway. Each origin is a scheme and a host,
// such as "https://app.example.com". "*" allows every site.
func WithCORS(origins ...string) Option {
	return func(o *options) { o.origins = append(o.origins, origins...) }
}

// WithPsrpcStatus changes the errors for clients that know neither Connect nor gRPC, such as curl.
// These send JSON without the header Connect-Protocol-Version. If their call fails, the HTTP status
// is the one that psrpc uses for the error code, and the body contains psrpc's code. By default,
// they get the status and the body of Connect.
func WithPsrpcStatus() Option { return func(o *options) { o.psrpcStatus = true } }

// WithErrorFacts adds the facts of failed calls to their errors: phase, reason, servers that have
// declined, and times. By default, facts are left out, because they tell clients about the servers
// behind the gateway. The headers Psrpc-Server, Psrpc-Request-Id and Server-Timing do not depend on
// this option.
func WithErrorFacts() Option { return func(o *options) { o.errorFacts = true } }

// WithStrictJSON refuses JSON requests that contain fields or enum values that the schema does not
// have. By default, they are ignored, as Connect and gRPC gateways do.
func WithStrictJSON() Option { return func(o *options) { o.strictJSON = true } }

// WithReflection serves gRPC's server reflection and the file /descriptors.binpb, a
// google.protobuf.FileDescriptorSet. In both, multi calls, subscriptions and streams have the
// stream keyword, which gRPC tools need. Both contain the whole .proto files of the served services.
// Clients therefore also see methods that [WithMethods] does not name, but cannot call them.
func WithReflection() Option { return func(o *options) { o.reflection = true } }

// WithOpenAPI serves /openapi.json, an OpenAPI 3.1 document of the served methods.
func WithOpenAPI() Option { return func(o *options) { o.openAPI = true } }

// WithLogger sets the logger for warnings. The default is slog.Default.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) {
		if logger != nil {
			o.logger = logger
		}
	}
}

// WithAccessLog logs each request to logger when it has ended. The record contains the path, the
// protocol, the HTTP status and error code, the duration, and the size of the response in bytes. It
// also contains the IP address of the client, and the IDs of the request and the server on the bus.
// Metadata, query parameters and messages are not logged, except for message fields in a path of
// [WithBindings]. The level is Info, and Debug for health checks. By default, or if logger is nil,
// requests are not logged.
func WithAccessLog(logger *slog.Logger) Option { return func(o *options) { o.accessLog = logger } }

// WithBindings adds further paths. The gateway calls bind with the methods that it serves, and
// again when services come or go. bind returns nil if there are no further paths. It must not
// block.
//
// The paths "/pkg.Service/Method" and those of the gateway itself take precedence. The response of
// a single call is JSON, and errors have psrpc's HTTP status, as with [WithPsrpcStatus]. Other
// kinds of calls use newline-delimited JSON, or server-sent events if the client accepts these.
func WithBindings(bind func(methods []*registry.Method, logger *slog.Logger) Bindings) Option {
	return func(o *options) { o.bind = bind }
}
