package gateway

import (
	"context"
	"slices"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// newRoutes returns the routes for the services in the registry. For methods that have not changed,
// it reuses the handlers in previous, which may be nil.
func (g *Gateway) newRoutes(generation uint64, previous *routes) *routes {
	r := &routes{generation: generation, methods: map[string]*registry.Method{}, connect: handlers{}, other: handlers{}}
	calls := connect.NewServer()
	var methods []*registry.Method
	for _, service := range g.registry.Services() {
		served := false
		for _, method := range service.Methods() {
			if !g.options.serves(method.FullName()) {
				continue
			}
			path := "/" + method.FullName()
			r.methods[path] = method
			methods = append(methods, method)
			if previous != nil && previous.methods[path] == method {
				r.connect[path] = previous.connect[path]
			} else {
				calls.Register(g.connectMethod(path, method))
			}
			served = true
		}
		if served {
			r.services = append(r.services, service)
		}
	}
	g.mount(calls, r.connect)
	// own serves the gateway's own services, such as health checks.
	own := connect.NewServer(g.limitOwnStreams)
	(&healthChecks{g, g.servesService}).register(own)
	if g.options.reflection {
		g.addReflection(own, r)
	}
	g.mount(own, r.other)
	if g.options.bind != nil {
		r.bindings = g.options.bind(methods, g.options.logger)
	}
	if g.options.openAPI {
		r.other["/openapi.json"] = g.openAPI(r)
	}
	r.other["/healthz"], r.other["/readyz"] = g.plainHealth(false), g.plainHealth(true)
	return r
}

// mount adds the methods of a server to handlers.
func (g *Gateway) mount(server *connect.Server, to handlers) {
	connecthttp.Mount(to, server,
		connecthttp.WithCodecs(codecs()...),
		connecthttp.WithReadMaxBytes(max(g.options.maxRequestBytes, 0)),
		connecthttp.WithCompressMinBytes(1024),
	)
}

// limitOwnStreams makes the streams of the gateway's own services count as streams; see
// [WithMaxStreams].
func (g *Gateway) limitOwnStreams(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		if info, ok := connect.CallInfoForServerContext(ctx); ok && spec.StreamType != connect.StreamTypeUnary {
			release, err := g.streams.acquire(info.PeerAddr)
			if err != nil {
				return g.options.connectError(err)
			}
			defer release()
			var end context.CancelFunc
			ctx, end = longContext(ctx, 0)
			defer end()
		}
		return next(ctx, spec, stream)
	}
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
		current = g.newRoutes(generation, current)
		g.routes.Store(current)
	}
	return current
}

// servesService reports whether the gateway serves a service at the moment.
func (g *Gateway) servesService(service string) bool {
	return slices.ContainsFunc(g.currentRoutes().services, func(s *registry.Service) bool {
		return string(s.Name()) == service
	})
}
