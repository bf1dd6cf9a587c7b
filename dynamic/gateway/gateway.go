package gateway

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2/connecthttp"
	"github.com/rs/cors"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Gateway is an http.Handler that calls the methods of a bus. It is safe for concurrent use.
type Gateway struct {
	conn     *dynamic.Conn
	registry *registry.Registry
	options  *options
	// handler is the method serve. If the gateway allows other origins, handler also answers CORS
	// preflight requests.
	handler     http.Handler
	errorWriter *connecthttp.ErrorWriter
	streams     streamLimiter

	// routes is what the gateway serves at the moment. It is replaced when services come or go.
	routes atomic.Pointer[routes]
	// mu is held while routes is being replaced.
	mu sync.Mutex
}

// New returns a gateway that serves methods of the services in reg. It calls them through conn.
// Services may be added to reg and removed from it at any time; calls that are under way finish.
// reg must be the registry of conn. The gateway does not close conn.
func New(conn *dynamic.Conn, reg *registry.Registry, opts ...Option) (*Gateway, error) {
	if conn == nil || reg == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "gateway: the conn or the registry is nil")
	}
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	g := &Gateway{conn: conn, registry: reg, options: o, errorWriter: connecthttp.NewErrorWriter()}
	g.streams = streamLimiter{all: o.maxStreams, perAddress: o.streamsPerAddress, open: map[string]int{}}
	g.handler = http.HandlerFunc(g.serve)
	if len(o.origins) > 0 {
		g.handler = o.cors(g.handler)
	}
	return g, nil
}

// cors returns a handler that answers the CORS preflight requests of browsers, and passes other
// requests to handler.
func (o *options) cors(handler http.Handler) http.Handler {
	return cors.New(cors.Options{
		AllowedOrigins: o.origins,
		AllowedMethods: []string{http.MethodGet, http.MethodPost},
		AllowedHeaders: []string{"*"},
		ExposedHeaders: []string{"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin", ServerHeader, FailedServersTrailer},
		MaxAge:         int((2 * time.Hour).Seconds()),
	}).Handler(handler)
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.handler.ServeHTTP(w, r) }

func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	routes := g.currentRoutes()
	method := routes.methods[r.URL.Path]
	if timeout := g.options.maxTimeout; timeout > 0 && g.options.readsAll(r, method) {
		r = withTimedBody(w, r, timeout)
	}
	if method != nil {
		g.serveMethod(w, r, routes, method)
		return
	}
	if handler := routes.other[r.URL.Path]; handler != nil {
		handler.ServeHTTP(w, r)
		return
	}
	err := errors.NewErrorf(errors.NotFound, "the gateway serves no %.200q", r.URL.Path)
	if r.Method == http.MethodPost && g.errorWriter.IsSupported(r) {
		_ = g.errorWriter.Write(w, r, g.options.connectError(errors.NewErrorf(errors.Unimplemented, "%w", err)))
		return
	}
	g.writeProblem(w, err)
}

// currentRoutes returns the routes for the services that are registered now.
func (g *Gateway) currentRoutes() *routes {
	generation := g.registry.Generation()
	if current := g.routes.Load(); current != nil && current.generation == generation {
		return current
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	generation = g.registry.Generation()
	current := g.routes.Load()
	if current == nil || current.generation != generation {
		current = g.newRoutes(generation)
		g.routes.Store(current)
	}
	return current
}

// serveMethod serves one request for a method.
func (g *Gateway) serveMethod(w http.ResponseWriter, r *http.Request, routes *routes, method *registry.Method) {
	limited := newDeadlineWriter(w, g.options.writeTimeout)
	defer limited.end()
	protocol := g.options.protocolOf(r)
	incoming, err := g.admit(r, method, protocol)
	if err != nil {
		g.refuse(limited, r, protocol, err)
		return
	}
	defer incoming.release()
	switch protocol {
	case protocolSSE, protocolNDJSON:
		g.serveEvents(limited, incoming, protocol)
	case protocolWebSocket:
		g.serveWebSocket(w, incoming)
	case protocolPlain:
		g.servePlain(limited, incoming)
	default:
		ctx := context.WithValue(incoming.request.Context(), incomingKey{}, incoming)
		routes.connect[r.URL.Path].ServeHTTP(limited, incoming.request.WithContext(ctx))
	}
}

// incoming is an HTTP request that the gateway serves.
type incoming struct {
	request *http.Request
	method  *registry.Method
	options []dynamic.RequestOption
	release func()
}

type incomingKey struct{}

// admit authorizes a request and returns it with the options of its call. Otherwise, it returns the
// reason why the request is refused. If err is nil, the caller must call release of the result.
//
// The metadata of the client is in the context before the authorizer is called, so that the
// authorizer can replace it.
func (g *Gateway) admit(r *http.Request, method *registry.Method, p protocol) (*incoming, error) {
	if err := g.options.checkOrigin(r); err != nil {
		return nil, err
	}
	if metadata := g.options.metadataOf(r.Header); len(metadata) > 0 {
		r = r.WithContext(dynamic.ContextWithMetadata(r.Context(), metadata))
	}
	if authorize := g.options.authorize; authorize != nil {
		ctx, err := authorize(r, method)
		if err != nil {
			return nil, err
		}
		if ctx != nil {
			r = r.WithContext(ctx)
		}
	}
	timeout, err := timeoutOf(r.Header)
	if err != nil {
		return nil, err
	}
	options, err := g.options.requestOptions(r, method, timeout)
	if err != nil {
		return nil, err
	}
	release := func() {}
	if method.Kind() != registry.KindSingle || p == protocolWebSocket {
		address := addressOf(r)
		if !g.streams.acquire(address) {
			return nil, errors.NewErrorf(errors.ResourceExhausted, "the gateway has too many open streams")
		}
		release = func() { g.streams.release(address) }
	}
	in := &incoming{request: r, method: method, options: options, release: release}
	if timeout > 0 && isLong(method) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		in.request = r.WithContext(ctx)
		in.release = func() { cancel(); release() }
	}
	return in, nil
}

// refuse answers a request that is not served with an error.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, p protocol, err error) {
	if p == protocolConnect && g.errorWriter.IsSupported(r) {
		setRetryAfter(w.Header(), err)
		_ = g.errorWriter.Write(w, r, g.options.connectError(err))
		return
	}
	g.writeProblem(w, err)
}

// addressOf returns the IP address of the client.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// streamLimiter limits the number of open streams, both of all clients together and of each IP
// address.
type streamLimiter struct {
	all, perAddress int

	mu    sync.Mutex
	total int
	open  map[string]int
}

func (l *streamLimiter) acquire(address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all > 0 && l.total >= l.all || l.perAddress > 0 && l.open[address] >= l.perAddress {
		return false
	}
	l.total++
	l.open[address]++
	return true
}

func (l *streamLimiter) release(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.open[address]--; l.open[address] <= 0 {
		delete(l.open, address)
	}
}

const typeJSON = "application/json"

// protocol is how an HTTP client talks to the gateway.
type protocol uint8

const (
	protocolConnect protocol = iota // Connect, gRPC and gRPC-Web
	protocolSSE
	protocolNDJSON
	protocolWebSocket
	protocolPlain // JSON of clients without Connect; see WithPsrpcStatus
)

// readsAll reports whether the whole body of a request is read before it is answered. method is nil
// if the request is for none. Only the streams of Connect and gRPC go on over a body, and only by
// HTTP/2.
func (o *options) readsAll(r *http.Request, method *registry.Method) bool {
	switch {
	case r.ContentLength == 0: // there is no body
		return false
	case r.ProtoMajor == 1:
		return true
	default:
		return method != nil && (method.Kind() != registry.KindStream || o.protocolOf(r) != protocolConnect)
	}
}

func (o *options) protocolOf(r *http.Request) protocol {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return protocolWebSocket
	}
	for accepted := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		mediaType, _, _ := strings.Cut(accepted, ";")
		switch strings.TrimSpace(mediaType) {
		case "text/event-stream":
			return protocolSSE
		case "application/x-ndjson":
			return protocolNDJSON
		}
	}
	contentType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	isJSON := strings.EqualFold(strings.TrimSpace(contentType), typeJSON)
	isPlain := r.Method == http.MethodPost && isJSON && r.Header.Get("Connect-Protocol-Version") == ""
	if o.psrpcStatus && isPlain {
		return protocolPlain
	}
	return protocolConnect
}

// health returns the handler of /healthz, which says that the process serves HTTP. If ready is
// true, it returns the handler of /readyz, which says whether the bus is connected.
func (g *Gateway) health(ready bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if monitored, ok := g.conn.Bus().(bus.Monitored); ready && ok && !monitored.Stats().Connected {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("the bus is not connected\n"))
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
}

// Server returns an http.Server for handler that also accepts gRPC without TLS, which is HTTP/2
// with prior knowledge. Its timeouts keep slow clients from holding connections: 10 s for the
// headers, and 2 minutes for an idle connection. The caller sets the address and starts it.
func Server(handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: handler, Protocols: protocols,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
}
