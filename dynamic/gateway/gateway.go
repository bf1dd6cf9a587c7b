package gateway

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"connectrpc.com/connect/v2/connecthttp"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Gateway is an http.Handler that calls the methods of a bus. It is safe for concurrent use.
type Gateway struct {
	conn     *dynamic.Conn
	registry *registry.Registry
	options  *options
	// handler calls the method serve. If the gateway allows other origins, handler also answers
	// CORS preflight requests.
	handler     http.Handler
	errorWriter *connecthttp.ErrorWriter
	calls       callLimiter
	streams     streamLimiter

	// routes contains the current routes. It is replaced when services are added or removed.
	routes atomic.Pointer[routes]
	// mu is held while routes is being replaced.
	mu sync.Mutex
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.handler.ServeHTTP(w, r) }

// routes contains the routes for one generation of the registry; see
// [registry.Registry.Generation]. It is immutable.
type routes struct {
	generation uint64
	services   []*registry.Service
	// methods contains the methods. connect contains their handlers for Connect, gRPC and gRPC-Web.
	// Both are keyed by path.
	methods map[string]*registry.Method
	connect handlers
	// other contains the handlers of all other paths.
	other handlers
	// bindings contains the paths of [WithBindings]. It is nil if there are none.
	bindings Bindings
}

// handlers contains HTTP handlers, keyed by path.
type handlers map[string]http.Handler

// Handle implements connecthttp.ServeMux. It ignores the patterns that end with a slash, which are
// for unknown methods.
func (h handlers) Handle(pattern string, handler http.Handler) {
	if !strings.HasSuffix(pattern, "/") {
		h[pattern] = handler
	}
}
