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
	DefaultMaxTimeout        = 30 * time.Second
	DefaultWriteTimeout      = 10 * time.Second
	DefaultLinger            = 10 * time.Second
	DefaultMaxStreams        = 1000
	DefaultStreamsPerAddress = 100
)

// Option configures [New].
type Option func(*options)

type options struct {
	patterns          []string
	maxRequestBytes   int
	maxResponseBytes  int
	maxTimeout        time.Duration
	writeTimeout      time.Duration
	linger            time.Duration
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
	logger            *slog.Logger
}

func newOptions(opts []Option) (*options, error) {
	o := &options{
		maxRequestBytes: DefaultMaxRequestBytes, maxResponseBytes: DefaultMaxResponseBytes,
		maxTimeout: DefaultMaxTimeout, writeTimeout: DefaultWriteTimeout, linger: DefaultLinger,
		maxStreams: DefaultMaxStreams, streamsPerAddress: DefaultStreamsPerAddress,
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
		// path.Match does not match a pattern with another number of slashes with any method.
		if _, err := path.Match(pattern, ""); err != nil || strings.Count(pattern, "/") != 1 || pattern[0] == '/' {
			return nil, errors.NewErrorf(errors.InvalidArgument, "gateway: malformed pattern %q of WithMethods", pattern)
		}
	}
	return o, o.trustOrigins()
}

// trustOrigins prepares the check of requests from web pages of other sites.
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

// checkOrigin refuses requests from web pages of other sites. A browser sends some of them without
// asking before, and a method may run although the page cannot read the response. net/http would
// always allow GET, but WebSockets and server-sent events use it for calls.
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
// "shop.Orders/Get". A "*" stands for any characters but a slash, as in "shop.*/*"; see
// [path.Match]. Further uses add patterns. A gateway without patterns would serve nothing, so [New]
// fails then.
func WithMethods(patterns ...string) Option {
	return func(o *options) { o.patterns = append(o.patterns, patterns...) }
}

// WithAuthorize sets a function that decides whether a request may use a method. It must be safe
// for concurrent use. If it returns an error, the client gets that error, and nothing is sent on
// the bus. The error should have a code, such as [errors.Unauthenticated]: of any other error, the
// client gets neither the text nor a better code than unknown.
//
// Otherwise, the call uses the returned context, which must be derived from that of the request. It
// may carry metadata for the servers, such as who the user is; see [dynamic.ContextWithMetadata].
// That metadata takes the place of metadata with the same keys that the client has sent; the keys
// of clients are in lower case. The function is not asked about /healthz, /readyz and what
// [WithReflection] and [WithOpenAPI] serve.
func WithAuthorize(authorize func(*http.Request, *registry.Method) (context.Context, error)) Option {
	return func(o *options) { o.authorize = authorize }
}

// WithMaxRequestBytes limits the size of each message of a client, in bytes; over SSE and NDJSON,
// it limits all messages together. The default is [DefaultMaxRequestBytes]; with 0, there is no
// limit. Larger messages are refused with the code resource_exhausted.
func WithMaxRequestBytes(bytes int) Option { return func(o *options) { o.maxRequestBytes = bytes } }

// WithMaxResponseBytes limits the size of each message to a client, in bytes. The default is
// [DefaultMaxResponseBytes]; with 0, there is no limit. A call with a larger response fails with
// the code resource_exhausted.
func WithMaxResponseBytes(bytes int) Option { return func(o *options) { o.maxResponseBytes = bytes } }

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

// WithLinger sets when the gateway closes a stream whose client has sent its last message: after
// the server has sent nothing for this time. A timeout is needed because, on the bus, a client
// cannot tell a server that it has sent its last message. The default is [DefaultLinger]. With 0,
// the stream stays open until the server closes it or the HTTP request ends.
func WithLinger(timeout time.Duration) Option { return func(o *options) { o.linger = timeout } }

// WithMaxStreams limits how many multi calls, streams and subscriptions are open at the same time:
// in all, and for each remote address. WebSockets count as well. The defaults are
// [DefaultMaxStreams] and [DefaultStreamsPerAddress]; 0 stands for no limit. Further ones are
// refused with the code resource_exhausted.
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
// is the one that psrpc uses for the error code, and the body contains the exact code. By default,
// they get the status and the body of Connect.
func WithPsrpcStatus() Option { return func(o *options) { o.psrpcStatus = true } }

// WithErrorFacts adds the facts of failed calls to their errors: phase, reason, servers that have
// declined, and times. By default, facts are left out, because they tell clients about the servers
// behind the gateway.
func WithErrorFacts() Option { return func(o *options) { o.errorFacts = true } }

// WithStrictJSON refuses JSON requests that contain fields or enum values that the schema does not
// have. By default, they are ignored, as Connect and gRPC gateways do.
func WithStrictJSON() Option { return func(o *options) { o.strictJSON = true } }

// WithReflection serves gRPC's server reflection and the file /descriptors.binpb, a
// google.protobuf.FileDescriptorSet. In both, multi calls, subscriptions and streams have the
// stream keyword, which gRPC tools need. They contain the whole files of the served services, with
// methods that [WithMethods] does not name.
func WithReflection() Option { return func(o *options) { o.reflection = true } }

// WithOpenAPI serves /openapi.json, an OpenAPI 3.1 document of the served methods.
func WithOpenAPI() Option { return func(o *options) { o.openAPI = true } }

// WithLogger sets the logger of warnings. The default is slog.Default.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) {
		if logger != nil {
			o.logger = logger
		}
	}
}
