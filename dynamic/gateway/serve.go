package gateway

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect/v2/connecthttp"
	"github.com/rs/cors"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

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
	g.calls.limit = o.maxCalls
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
	methods := []string{http.MethodGet, http.MethodPost}
	if o.bind != nil {
		methods = append(methods, http.MethodPut, http.MethodPatch, http.MethodDelete)
	}
	return cors.New(cors.Options{
		AllowedOrigins: o.origins,
		AllowedMethods: methods,
		AllowedHeaders: []string{"*"},
		ExposedHeaders: []string{
			"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin", "Retry-After",
			ServerHeader, RequestIDHeader, timingHeader, FailedServersTrailer,
		},
		MaxAge: int((2 * time.Hour).Seconds()),
	}).Handler(handler)
}

func (g *Gateway) serve(original http.ResponseWriter, r *http.Request) {
	w := newResponseWriter(original, g.options.writeTimeout)
	w.overHTTP2 = r.ProtoMajor == 2
	defer w.end()
	w.Header().Set("X-Content-Type-Options", "nosniff")
	routes := g.currentRoutes()
	in := &incoming{request: r, method: routes.methods[r.URL.Path], protocol: g.options.protocolOf(r)}
	if g.options.accessLog != nil {
		defer g.logAccess(w, in, time.Now())
	}
	g.limitBodyTime(w, in)
	switch other := routes.other[r.URL.Path]; {
	case in.method != nil:
		g.serveMethod(w, routes, in)
	case other != nil:
		other.ServeHTTP(w, in.request)
	case routes.bindings != nil && g.serveBinding(w, routes, in):
	default:
		g.refuseUnknown(w, in.request)
	}
}

// serveMethod serves a request for a method.
func (g *Gateway) serveMethod(w *responseWriter, routes *routes, in *incoming) {
	release, err := g.admit(in)
	if err != nil {
		in.err = err
		g.refuse(w, in, err)
		return
	}
	defer release()
	switch in.protocol {
	case protocolSSE, protocolNDJSON:
		g.serveEvents(w, in)
	case protocolWebSocket:
		g.serveWebSocket(w, in)
	case protocolPlain:
		g.servePlain(w, in)
	case protocolConnect:
		ctx := context.WithValue(in.request.Context(), incomingKey{}, in)
		routes.connect[in.request.URL.Path].ServeHTTP(w, in.request.WithContext(ctx))
		if hint := hintFor(in.method, w.status); w.size == 0 && hint != "" {
			_, _ = io.WriteString(w, hint+"\n")
		}
	}
}

// hintFor returns advice for the author of a request that Connect has refused with this HTTP
// status. It returns "" if there is none.
func hintFor(method *registry.Method, status int) string {
	switch {
	case status != http.StatusUnsupportedMediaType && status != http.StatusHTTPVersionNotSupported:
		return ""
	case method.Kind() == registry.KindSingle:
		return "send JSON with Content-Type: application/json"
	default:
		return streamHint(method)
	}
}

// serveBinding serves a request for a path of [WithBindings]. It returns false if no such path
// matches.
func (g *Gateway) serveBinding(w *responseWriter, routes *routes, in *incoming) bool {
	bound, allow := routes.bindings.Find(in.request)
	if bound == nil && len(allow) == 0 {
		return false
	}
	if bound == nil {
		slices.Sort(allow)
		w.Header().Set("Allow", strings.Join(slices.Compact(allow), ", "))
		w.WriteHeader(http.StatusMethodNotAllowed)
		return true
	}
	in.bound, in.method, in.protocol = bound, bound.Method, g.options.protocolOfBound(in.request, bound)
	g.serveMethod(w, routes, in)
	return true
}
