package explorer

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// New returns an Explorer that shows the fleet f. The pages make their calls through gw, usually a
// gateway.Gateway for the conn of the fleet. To call services that only servers know, the registry
// of the conn must follow the fleet; see [fleet.Fleet.Follow].
//
// New returns an error with code invalid_argument if an argument is nil or an option is invalid.
func New(f *fleet.Fleet, gw http.Handler, opts ...Option) (*Explorer, error) {
	if f == nil || gw == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "explorer: the fleet or the gateway is nil")
	}
	o := newOptions(opts)
	if len(o.token) < minToken {
		return nil, errors.NewErrorf(errors.InvalidArgument, "explorer: the token has fewer than %d characters", minToken)
	}
	pages, err := loadPages()
	if err != nil {
		return nil, err
	}
	e := &Explorer{
		fleet: f, gateway: http.StripPrefix("/rpc", gw), options: o, access: newAccess(o), pages: pages,
		streams: newLimit(maxEventStreams), taps: newLimit(maxTaps), questions: newLimit(maxQuestions),
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.poller = newPoller(e.ctx, &e.tasks, f, o)
	e.session = newShared(e.ctx, &e.tasks, sessionFor, func(ctx context.Context) (*busInfo, error) {
		return askBus(ctx, f.Conn().Bus())
	})
	e.doctor = newShared(e.ctx, &e.tasks, doctorFor, e.examine)
	e.handler = e.access.protect(e.routes())
	return e, nil
}

func newOptions(opts []Option) *options {
	o := &options{refresh: DefaultRefresh, token: rand.Text(), logger: slog.Default(), answerWait: answerWait}
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
	return o
}

// routes returns the handler for requests that have passed the access checks.
func (e *Explorer) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", e.serveIndex)
	mux.HandleFunc("GET /assets/{name...}", e.serveAsset)
	// Browsers request this file by themselves, for example if the user leaves a page before it has
	// loaded.
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, r *http.Request) { e.servePage(w, r, "icon.svg") })
	mux.HandleFunc("/rpc/", e.serveCall)
	e.handle(mux, "GET /api/session", ActionView, e.serveSession)
	e.handle(mux, "GET /api/fleet", ActionView, e.serveFleet)
	e.handle(mux, "GET /api/fleet/events", ActionView, e.serveFleetEvents)
	e.handle(mux, "GET /api/services/{name}", ActionView, e.serveService)
	e.handle(mux, "GET /api/services/{name}/schema", ActionView, e.serveSchema)
	e.handle(mux, "GET /api/services/{name}/descriptors.binpb", ActionView, e.serveDescriptors)
	e.handle(mux, "GET /api/services/{name}/proto", ActionView, e.serveProto)
	e.handle(mux, "GET /api/servers/{id}", ActionView, e.serveServer)
	e.handle(mux, "POST /api/servers/{id}/drain", ActionDrain, e.drain)
	e.handle(mux, "POST /api/servers/{id}/resume", ActionResume, e.resume)
	e.handle(mux, "POST /api/servers/{id}/log-level", ActionSetLogLevel, e.setLogLevel)
	e.handle(mux, "POST /api/servers/{id}/reload-plugin", ActionReloadPlugin, e.reloadPlugin)
	e.handle(mux, "POST /api/who", ActionWho, e.serveWho)
	e.handle(mux, "GET /api/topology", ActionView, e.serveTopology)
	e.handle(mux, "GET /api/topology/events", ActionView, e.serveTopologyEvents)
	e.handle(mux, "GET /api/tap", ActionTap, e.serveTap)
	e.handle(mux, "GET /api/doctor", ActionDoctor, e.serveDoctor)
	e.handle(mux, "POST /api/check-filter", ActionView, e.checkFilter)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, errors.NewErrorf(errors.NotFound, "the explorer has no %s %.200q", r.Method, r.URL.Path))
	})
	return mux
}

// handle adds a route. If serve returns an error, it must not have written anything.
func (e *Explorer) handle(mux *http.ServeMux, pattern string, action Action, serve func(http.ResponseWriter, *http.Request) error) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := e.permit(r, action); err != nil {
			writeError(w, err)
			return
		}
		if r.Method == http.MethodPost {
			if err := checkPost(w, r); err != nil {
				writeError(w, err)
				return
			}
		}
		if err := serve(w, r); err != nil {
			writeError(w, err)
		}
	})
}

// serveCall passes a request to the gateway. A read-only explorer passes only requests that change
// nothing.
func (e *Explorer) serveCall(w http.ResponseWriter, r *http.Request) {
	action := ActionCall
	if e.onlyReads(r) {
		action = ActionView
	}
	if err := e.permit(r, action); err != nil {
		writeError(w, err)
		return
	}
	passed := e.access.withoutToken(r)
	if r.Header.Get("Upgrade") != "" {
		setQueryHeaders(passed)
	}
	e.gateway.ServeHTTP(w, passed)
}

// onlyReads reports whether a request to the gateway changes nothing. Only a GET request for a
// subscription or for a method without side effects changes nothing. Other GET requests may be
// calls over WebSockets, or calls by paths of google.api.http.
func (e *Explorer) onlyReads(r *http.Request) bool {
	if r.Method != http.MethodGet || r.Header.Get("Upgrade") != "" {
		return false
	}
	path := strings.TrimPrefix(r.URL.Path, "/rpc/")
	method, ok := e.fleet.Conn().Registry().Method(path)
	// The registry accepts further forms of a name, which the gateway may take for another path.
	return ok && method.FullName() == path && (method.Kind() == registry.KindSubscription || hasNoSideEffects(method))
}

// setQueryHeaders sets headers of the gateway from the query parameters "header", such as
// "Psrpc-Meta-user:ada". A page needs them because a browser cannot add headers to a WebSocket.
func setQueryHeaders(r *http.Request) {
	for _, header := range r.URL.Query()["header"] {
		name, value, _ := strings.Cut(header, ":")
		if name = http.CanonicalHeaderKey(name); strings.HasPrefix(name, "Psrpc-") {
			r.Header.Set(name, value)
		}
	}
}

func (e *Explorer) serveIndex(w http.ResponseWriter, r *http.Request) {
	e.servePage(w, r, "index.html")
}

func (e *Explorer) serveAsset(w http.ResponseWriter, r *http.Request) {
	e.servePage(w, r, r.PathValue("name"))
}

func (e *Explorer) servePage(w http.ResponseWriter, r *http.Request, name string) {
	if err := e.permit(r, ActionView); err != nil {
		writeError(w, err)
		return
	}
	page := e.pages[name]
	if page == nil {
		writeError(w, errors.NewErrorf(errors.NotFound, "the explorer has no page %.200q", name))
		return
	}
	page.serve(w, r)
}
