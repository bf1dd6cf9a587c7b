package rest

import (
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// WithAnnotations serves the paths that google.api.http assigns to the served methods. A rule that
// cannot be used, such as one with the path of another method, is logged and ignored. Its method is
// still served at its other paths.
func WithAnnotations() gateway.Option {
	var log problemLog
	return gateway.WithBindings(func(methods []*registry.Method, logger *slog.Logger) gateway.Bindings {
		b, problems := newBindings(methods)
		log.report(logger, problems)
		if len(b.routes) == 0 {
			return nil
		}
		return b
	})
}

// problemLog logs each problem once, although the bindings are made again whenever services come
// or go.
type problemLog struct {
	mu   sync.Mutex
	last []string
}

func (l *problemLog) report(logger *slog.Logger, problems []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, problem := range problems {
		if !slices.Contains(l.last, problem) {
			logger.Warn("gateway: a rule of google.api.http is ignored", slog.String("reason", problem))
		}
	}
	l.last = problems
}

// bindings contains the paths of methods. It is immutable.
type bindings struct {
	root   node
	routes []*route
}

// newBindings returns the paths of the methods, and a problem for each rule that cannot be used.
func newBindings(methods []*registry.Method) (b *bindings, problems []string) {
	b = &bindings{}
	for _, method := range methods {
		rules, err := rulesOf(method)
		if err != nil {
			problems = append(problems, method.FullName()+": "+err.Error())
		}
		for _, rule := range rules {
			route, err := newRoute(method, rule)
			if err == nil {
				err = b.root.insert(route)
			}
			if err != nil {
				problems = append(problems, method.FullName()+": "+err.Error())
				continue
			}
			b.routes = append(b.routes, route)
		}
	}
	return b, problems
}

// Find implements gateway.Bindings.
func (b *bindings) Find(r *http.Request) (bound *gateway.BoundRequest, allow []string) {
	route, values, allow := b.root.findRoute(r.Method, r.URL.EscapedPath())
	if route == nil {
		return nil, allow
	}
	return route.bind(r, values), nil
}

// Operations implements gateway.Bindings.
func (b *bindings) Operations() []gateway.Operation {
	var operations []gateway.Operation
	for _, route := range b.routes {
		if standardMethods[route.httpMethod] {
			operations = append(operations, route.operation())
		}
	}
	return operations
}

// standardMethods are the HTTP methods that google.api.http has a field for.
var standardMethods = map[string]bool{
	http.MethodGet: true, http.MethodPut: true, http.MethodPost: true, http.MethodDelete: true, http.MethodPatch: true,
}
