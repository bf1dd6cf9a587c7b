package rest

import (
	"fmt"
	"io"
	"net/http"
	"slices"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// rulesOf returns the rules of a method: the one in its options, and its additional bindings. It
// encodes and decodes the options to turn google.api.http into the generated Go type. In schemas
// that are loaded at run time, this option has a dynamic type.
func rulesOf(method *registry.Method) ([]*annotations.HttpRule, error) {
	encoded, err := proto.MarshalOptions{AllowPartial: true}.Marshal(method.Descriptor().Options())
	if err != nil || len(encoded) == 0 {
		return nil, err
	}
	options := &descriptorpb.MethodOptions{}
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(encoded, options); err != nil {
		return nil, err
	}
	if !proto.HasExtension(options, annotations.E_Http) {
		return nil, nil
	}
	rule, _ := proto.GetExtension(options, annotations.E_Http).(*annotations.HttpRule)
	return append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...), nil
}

// route is a path of a method. It is immutable.
type route struct {
	method     *registry.Method
	httpMethod string
	path       string
	template   *template
	// variables contains the request field of each variable of the template, in the same order.
	variables []fieldPath
	body      part
	response  part
	// hasBody reports whether the request has a body.
	hasBody bool
	// noResponse is what the client gets if the response field is not set: the JSON of its default
	// value.
	noResponse []byte
	// topic contains the indices of the variables that make up the topic. It is empty if the path
	// does not contain the topic.
	topic []int
}

// part is a message, or one field of it.
type part struct {
	// field is nil if the part is the whole message.
	field protoreflect.FieldDescriptor
	// isHTTPBody reports whether the part is a google.api.HttpBody.
	isHTTPBody bool
}

func newRoute(method *registry.Method, rule *annotations.HttpRule) (*route, error) {
	r := &route{method: method, hasBody: rule.GetBody() != ""}
	if r.httpMethod, r.path = pattern(rule); r.httpMethod == "" {
		return nil, errors.New("a rule has no path")
	}
	var err error
	if r.template, err = parseTemplate(r.path); err != nil {
		return nil, err
	}
	if r.body, err = newPart(method.Input(), rule.GetBody()); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if r.response, err = newPart(method.Output(), rule.GetResponseBody()); err != nil {
		return nil, fmt.Errorf("response_body: %w", err)
	}
	if field := r.response.field; field != nil {
		r.noResponse = emptyValue(field)
	}
	for _, v := range r.template.variables {
		fields, err := findFields(method.Input(), v.name)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.name, err)
		}
		if last := fields.last(); last.IsList() || !isScalar(last) {
			return nil, fmt.Errorf("variable %s: field %s has no form as text", v.name, last.FullName())
		}
		r.variables = append(r.variables, fields)
	}
	r.topic = r.template.indicesOf(method.TopicParams())
	return r, nil
}

// pattern returns the HTTP method and the path template of a rule.
func pattern(rule *annotations.HttpRule) (httpMethod, path string) {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Put:
		return http.MethodPut, p.Put
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	case *annotations.HttpRule_Patch:
		return http.MethodPatch, p.Patch
	case *annotations.HttpRule_Custom:
		return p.Custom.GetKind(), p.Custom.GetPath()
	default:
		return "", ""
	}
}

// newPart returns the part of a message that a rule names: one field or the whole message.
func newPart(message protoreflect.MessageDescriptor, name string) (part, error) {
	if name == "" || name == "*" {
		return part{isHTTPBody: isHTTPBody(message)}, nil
	}
	field := fieldByName(message, name)
	if field == nil {
		return part{}, unknownField(message, name)
	}
	return part{field, !field.IsList() && !field.IsMap() && isHTTPBody(field.Message())}, nil
}

func isHTTPBody(message protoreflect.MessageDescriptor) bool {
	return message != nil && message.FullName() == "google.api.HttpBody"
}

// indicesOf returns the indices of the variables with these names. If one of them is missing, the
// result is nil.
func (t *template) indicesOf(names []string) []int {
	indices := make([]int, len(names))
	for i, name := range names {
		indices[i] = slices.IndexFunc(t.variables, func(v variable) bool { return v.name == name })
		if indices[i] < 0 {
			return nil
		}
	}
	return indices
}

// bind returns the call that a request asks for. values contains the values of the variables.
func (r *route) bind(request *http.Request, values []string) *gateway.BoundRequest {
	bound := &gateway.BoundRequest{
		Method: r.method, Response: r.responseOf, IsHTTPBody: r.response.isHTTPBody,
		Message: func(body io.Reader) ([]byte, error) { return r.message(request, values, body) },
	}
	for _, i := range r.topic {
		bound.Topic = append(bound.Topic, values[i])
	}
	return bound
}

// operation describes the route for the OpenAPI document.
func (r *route) operation() gateway.Operation {
	o := gateway.Operation{
		Method: r.method, HTTPMethod: r.httpMethod, Path: r.template.openAPI(),
		PathParameters: map[string]protoreflect.FieldDescriptor{}, QueryParameters: map[string]protoreflect.FieldDescriptor{},
		HasBody: r.hasBody, BodyField: r.body.field, ResponseField: r.response.field, HasTopic: len(r.topic) > 0,
		RequestIsHTTPBody: r.body.isHTTPBody, ResponseIsHTTPBody: r.response.isHTTPBody,
	}
	for i, v := range r.template.variables {
		o.PathParameters[v.name] = r.variables[i].last()
	}
	if !r.readsQuery() {
		return o
	}
	for name, field := range parametersOf(r.method.Input()) {
		if _, inPath := o.PathParameters[name]; !inPath && field != r.body.field {
			o.QueryParameters[field.JSONName()] = field
		}
	}
	return o
}

// readsQuery reports whether the query may contain fields of the message. If the body is the whole
// message, it may not.
func (r *route) readsQuery() bool { return !r.hasBody || r.body.field != nil }
