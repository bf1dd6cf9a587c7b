package dynamic

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/serve"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// bindHandlers binds the handlers to the methods of r's service. The result contains all methods
// that are served, keyed by method name. The error reports all problems.
func (r *Registration) bindHandlers(handlers Handlers, o *registerOptions) (map[string]*boundHandler, error) {
	var problems []error
	problem := func(method, format string, args ...any) {
		problems = append(problems, serviceProblem(r.service, method, fmt.Errorf(format, args...)))
	}
	handlers, mismatches := matchImplementation(r.service, handlers, o.allowMissing)
	problems = append(problems, mismatches...)
	for _, name := range slices.Sorted(maps.Keys(handlers)) {
		if _, ok := r.service.Method(name); !ok {
			problem(name, "there is a handler, but no such method%s",
				transport.Suggest(name, r.service.Methods(), (*registry.Method).Name))
		}
	}
	served := map[string]*boundHandler{}
	for _, method := range r.service.Methods() {
		handler, given := handlers[method.Name()]
		if given && handler == nil {
			problem(method.Name(), "the handler is nil")
			continue
		}
		bound, err := bindHandler(method, handler, o.allowMissing)
		if err != nil {
			problem(method.Name(), "%w", err)
			continue
		}
		if bound == nil {
			continue
		}
		if bound.stream != nil {
			o.streamDefaults.applyDefault(bound.stream)
			r.server.options.streamDefaults.applyDefault(bound.stream)
			streamSetting{buffer: DefaultStreamBuffer}.applyDefault(bound.stream)
			bound.Stream = bound.stream.engineHandler(r, method)
		} else {
			bound.ForTopic = func(topic []string) serve.HandleFunc {
				return bound.intercepted(r.interceptors.rpc, newRPCInfo(method, topic))
			}
		}
		served[method.Name()] = bound
		if o.requireAffinity && given && bound.lacksAffinity(method) {
			problem(method.Name(), "the method has AFFINITY routing, but its handler has no affinity function: use %s",
				affinityOptionName(method))
		}
	}
	return served, errors.Join(problems...)
}

// bindHandler binds a handler to its method. handler is nil if the user has given no handler for
// the method. In that case, bindHandler returns nil for a subscription method. For other methods,
// it returns an error, or, if allowMissing is true, a handler that returns errors.ErrUnimplemented.
func bindHandler(method *registry.Method, handler Handler, allowMissing bool) (*boundHandler, error) {
	switch {
	case handler != nil:
		bound, err := handler.bind(method)
		if err != nil {
			return nil, fmt.Errorf("the handler does not fit: %w", err)
		}
		return bound, nil
	case method.Kind() == registry.KindSubscription:
		return nil, nil //nolint:nilnil // subscriptions have no handler
	case allowMissing && method.Kind() == registry.KindStream:
		bound, err := Stream(unimplementedStream).bind(method)
		if err == nil {
			bound.stream.refusal, bound.Missing = errors.ErrUnimplemented, true
		}
		return bound, err
	case allowMissing:
		bound, err := Raw(unimplementedCall).bind(method)
		if err == nil {
			bound.Missing = true
		}
		return bound, err
	default:
		return nil, errors.New("there is no handler; dynamic.AllowMissing() lets it answer unimplemented")
	}
}

// unimplementedCall handles calls to methods that have no handler.
func unimplementedCall(context.Context, *registry.Method, []byte) ([]byte, error) {
	// The text must stay the same, because clients recognize errors.ErrUnimplemented by it.
	return nil, errors.ErrUnimplemented
}

// unimplementedStream handles streams of methods that have no handler.
func unimplementedStream(ServerStream[proto.Message, proto.Message]) error {
	return errors.ErrUnimplemented
}
