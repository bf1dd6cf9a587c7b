package dynamic

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// goMethodHandler is a handler that HandlersOf has made from a Go method. Only
// *implementationHandler implements it.
//
// The interface lets the linker remove *implementationHandler from programs without HandlersOf.
// That type calls reflect.Type.MethodByName, which makes the linker keep the exported methods of
// all types, so a program becomes a fifth larger.
type goMethodHandler interface {
	Handler
	// owner returns the type of the implementation.
	owner() reflect.Type
	methodOf(service *registry.Service, key string) *registry.Method
	leftover(service *registry.Service) error
}

// owner implements goMethodHandler.
func (h *implementationHandler) owner() reflect.Type { return h.impl.goType }

// matchImplementation finds the method of the service for each handler that HandlersOf has made
// from a Go method. matched contains the handlers, keyed by the name of the method. It omits Go
// methods that belong to no method of the service. problems contains the errors that were found. If
// no handler comes from HandlersOf, matchImplementation returns handlers unchanged.
func matchImplementation(
	service *registry.Service, handlers Handlers, allowMissing bool,
) (matched Handlers, problems []error) {
	var goType reflect.Type
	matched = Handlers{}
	for _, key := range slices.Sorted(maps.Keys(handlers)) {
		switch handler := handlers[key].(type) {
		case problemHandler:
			return reportedHandlers(service), []error{serviceProblem(service, "", handler.problem)}
		case goMethodHandler:
			goType = handler.owner()
			if method := handler.methodOf(service, key); method == nil {
				if err := handler.leftover(service); err != nil {
					problems = append(problems, serviceProblem(service, key, err))
				}
			} else if handlers[method.Name()] == nil || key == method.Name() {
				matched[method.Name()] = handler
			}
		default:
			matched[key] = handler
		}
	}
	if goType == nil {
		return handlers, nil
	}
	for _, method := range service.Methods() {
		if matched[method.Name()] == nil && !allowMissing && method.Kind() != registry.KindSubscription {
			err := fmt.Errorf("%s has no method %s%s; add it, or use dynamic.AllowMissing()",
				goType, method.WireName(), strings.TrimPrefix(wantedSignature(method), "func"))
			problems = append(problems, serviceProblem(service, method.Name(), err))
			matched[method.Name()] = reportedHandler{}
		}
	}
	return matched, problems
}

// serviceProblem returns an error about a service or one of its methods.
func serviceProblem(service *registry.Service, method string, problem error) error {
	if method == "" {
		return errors.NewErrorf(errors.InvalidArgument, "service %s: %w", service.Name(), problem)
	}
	return errors.NewErrorf(errors.InvalidArgument, "service %s, method %s: %w", service.Name(), method, problem)
}

// methodOf returns the method to which the Go method named key belongs, or nil if the service has
// no such method. It also returns nil if that method is a subscription and the Go method does not
// look like a handler, because the two then have the same name only by chance.
func (h *implementationHandler) methodOf(service *registry.Service, key string) *registry.Method {
	method := methodOfGoName(service, key)
	if method != nil && method.Kind() == registry.KindSubscription && !h.looksLikeHandler() {
		return nil
	}
	return method
}

// reportedHandler stands for a handler whose problem has already been reported, so that no second
// error about the same method follows.
type reportedHandler struct{}

func (reportedHandler) bind(*registry.Method) (*boundHandler, error) {
	return nil, nil //nolint:nilnil // the method is not served
}

// reportedHandlers returns a reportedHandler for each method of a service. It is used if an error
// about the whole service has been reported.
func reportedHandlers(service *registry.Service) Handlers {
	handlers := Handlers{}
	for _, method := range service.Methods() {
		handlers[method.Name()] = reportedHandler{}
	}
	return handlers
}

// looksLikeHandler reports whether the Go method has the signature of a handler.
func (h *implementationHandler) looksLikeHandler() bool {
	goMethod, _ := h.impl.method(h.name)
	return streamFactoryOf(goMethod.Type) != nil ||
		hasSignature(goMethod.Type, []reflect.Type{contextType, messageType}, []reflect.Type{messageType, errorType})
}

// leftover is called for a Go method that belongs to no method of the service. It returns an error
// if the Go method looks like a handler or an affinity function.
func (h *implementationHandler) leftover(service *registry.Service) error {
	if h.looksLikeHandler() {
		return fmt.Errorf("%s has a method with the signature of a handler, but there is no such method%s",
			h.impl.goType, transport.Suggest(h.name, service.Methods(), (*registry.Method).WireName))
	}
	base, isAffinity := strings.CutSuffix(h.name, affinitySuffix)
	goMethod, _ := h.impl.method(h.name)
	if !isAffinity || !slices.Equal(outs(goMethod.Type), []reflect.Type{float32Type}) {
		return nil
	}
	switch method := methodOfGoName(service, base); {
	case method == nil:
		return fmt.Errorf("%s has an affinity function for %s, but there is no such method%s",
			h.impl.goType, base, transport.Suggest(base, service.Methods(), (*registry.Method).WireName))
	case method.Routing() != registry.RoutingAffinity:
		return fmt.Errorf("%s has an affinity function for %s, which has %s routing: "+
			"set (psrpc.options).type = AFFINITY, or remove the function", h.impl.goType, base, method.Routing())
	case !method.RequireClaim():
		return fmt.Errorf("%s has an affinity function for %s, whose servers do not claim requests: remove the function",
			h.impl.goType, base)
	default:
		return nil
	}
}
