package dynamic

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// affinitySuffix is the end of the name of a Go method that is an affinity function.
const affinitySuffix = "Affinity"

// goMethodHandler is a handler that HandlersOf has made from a Go method. Only
// *implementationHandler implements it.
//
// The interface keeps programs small. *implementationHandler calls reflect.Type.MethodByName, which
// makes the linker keep the exported methods of all types: a program becomes a fifth larger.
// Because matchImplementation mentions only the interface, the linker can remove
// *implementationHandler from programs without HandlersOf.
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

// methodOf returns the method of the service that has the name key. It returns nil if there is no
// such method. It also returns nil if the method is a subscription and the Go method does not look
// like a handler. In that case, the Go method has the name of the subscription only by chance.
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

// methodOfGoName returns the method whose Go method or field is called name. This is the name in
// the .proto file or the same name in CamelCase. methodOfGoName returns nil if there is no such
// method.
func methodOfGoName(service *registry.Service, name string) *registry.Method {
	if method, ok := service.Method(name); ok {
		return method
	}
	for _, method := range service.Methods() {
		if method.WireName() == name {
			return method
		}
	}
	return nil
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

// missingAffinity returns the error for a method with AFFINITY routing that lacks an affinity
// function.
func missingAffinity(method *registry.Method) error {
	return fmt.Errorf("the method has AFFINITY routing: add the method %s%s%s",
		method.WireName(), affinitySuffix, strings.TrimPrefix(wantedAffinity(method), "func"))
}

// hasSignature reports whether a Go method has the parameter types params, not counting its
// receiver, and the result types results. In both slices, messageType stands for any pointer to a
// message.
func hasSignature(t reflect.Type, params, results []reflect.Type) bool {
	matches := func(given, wanted reflect.Type) bool {
		if wanted == messageType {
			return given.Kind() == reflect.Pointer && given.Implements(messageType)
		}
		return given == wanted
	}
	return !t.IsVariadic() && slices.EqualFunc(ins(t)[1:], params, matches) && slices.EqualFunc(outs(t), results, matches)
}

func ins(t reflect.Type) []reflect.Type  { return slices.Collect(t.Ins()) }
func outs(t reflect.Type) []reflect.Type { return slices.Collect(t.Outs()) }

// wantedSignature returns the signature that the handler of a method should have, as Go source code
// for an error message.
func wantedSignature(method *registry.Method) string {
	request, response := goTypeName(method, method.Input()), goTypeName(method, method.Output())
	if method.Kind() == registry.KindStream {
		return fmt.Sprintf("func(dynamic.ServerStream[%s, %s]) error", response, request)
	}
	return fmt.Sprintf("func(context.Context, %s) (%s, error)", request, response)
}

// wantedAffinity returns the signature that the affinity function of a method should have.
func wantedAffinity(method *registry.Method) string {
	if method.Kind() == registry.KindStream {
		return "func(context.Context) float32"
	}
	return fmt.Sprintf("func(context.Context, %s) float32", goTypeName(method, method.Input()))
}

// goTypeName returns the name of the generated Go type of a message of the method. If the program
// contains no such type, goTypeName returns *dynamicpb.Message.
func goTypeName(method *registry.Method, descriptor protoreflect.MessageDescriptor) string {
	linked, err := method.Service().FindMessageByName(descriptor.FullName())
	if err != nil {
		return "*dynamicpb.Message"
	}
	return fmt.Sprintf("%T", linked.Zero().Interface())
}

// signatureOf returns the signature of a Go method without its receiver.
func signatureOf(t reflect.Type) string {
	return reflect.FuncOf(ins(t)[1:], outs(t), t.IsVariadic()).String()
}

// oneLine returns an error with the text of err, in which semicolons replace the line breaks.
func oneLine(err error) error { return errors.New(strings.ReplaceAll(err.Error(), "\n", "; ")) }
