package dynamic

import (
	"log/slog"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// RequireAffinity makes [Server.Register] fail if a method with AFFINITY routing has a handler
// without an affinity function. Without this option, the affinity of such a handler is 1, and
// Register only logs a warning. Handlers from [Raw] are exempt, because they cannot have an
// affinity function. Methods that are declared to have a single server are also exempt.
func RequireAffinity() ServiceOption {
	return registerOption(func(o *registerOptions) { o.requireAffinity = true })
}

// lacksAffinity reports whether the handler should have an affinity function but has none. A
// handler should have one if its method has AFFINITY routing and requires claims, unless it is a
// Raw handler.
func (b *boundHandler) lacksAffinity(method *registry.Method) bool {
	if method.Routing() != registry.RoutingAffinity || !method.RequireClaim() || b.raw {
		return false
	}
	if b.stream != nil {
		return b.stream.affinity == nil
	}
	return b.Affinity == nil
}

// affinityOptionName returns the name of the option that sets the affinity function of a method.
func affinityOptionName(method *registry.Method) string {
	if method.Kind() == registry.KindStream {
		return "dynamic.WithStreamAffinity"
	}
	return "dynamic.WithAffinity"
}

// warnLackingAffinity logs one warning about all handlers that lack an affinity function.
func (r *Registration) warnLackingAffinity(handlers Handlers) {
	var methods []string
	for _, method := range r.service.Methods() {
		bound := r.handlers[method.Name()]
		if handlers[method.Name()] != nil && bound != nil && bound.lacksAffinity(method) {
			methods = append(methods, method.Name())
		}
	}
	if len(methods) > 0 {
		r.server.options.logger.Warn(
			"dynpsrpc: methods with AFFINITY routing have no affinity function, so their affinity is always 1: "+
				"use dynamic.WithAffinity",
			slog.String("service", string(r.service.Name())), slog.Any("methods", methods))
	}
}
