package dynamic

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
	messageType = reflect.TypeFor[proto.Message]()
	float32Type = reflect.TypeFor[float32]()
)

// affinitySuffix is the end of the name of a Go method that is an affinity function.
const affinitySuffix = "Affinity"

// methodOfGoName returns the method to which a Go method or field with this name belongs, or nil if
// there is none. The Go name is the method's name in the .proto file, or that name in CamelCase.
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

// signatureOf returns the signature of a Go method without its receiver.
func signatureOf(t reflect.Type) string {
	return reflect.FuncOf(ins(t)[1:], outs(t), t.IsVariadic()).String()
}

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

// missingAffinity returns the error for a method with AFFINITY routing that lacks an affinity
// function.
func missingAffinity(method *registry.Method) error {
	return fmt.Errorf("the method has AFFINITY routing: add the method %s%s%s",
		method.WireName(), affinitySuffix, strings.TrimPrefix(wantedAffinity(method), "func"))
}

// goTypeName returns the name of the generated Go type for the method's request or response. If the
// program contains no such type, goTypeName returns *dynamicpb.Message.
func goTypeName(method *registry.Method, descriptor protoreflect.MessageDescriptor) string {
	linked, err := method.Service().FindMessageByName(descriptor.FullName())
	if err != nil {
		return "*dynamicpb.Message"
	}
	return fmt.Sprintf("%T", linked.Zero().Interface())
}

// oneLine returns an error with the text of err, in which semicolons replace the line breaks.
func oneLine(err error) error { return errors.New(strings.ReplaceAll(err.Error(), "\n", "; ")) }
