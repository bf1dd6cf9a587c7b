package gateway

import (
	"io"
	"net/http"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Bindings are further HTTP paths of methods, besides "/pkg.Service/Method". They are immutable and
// safe for concurrent use. Package rest makes them from the annotations of a schema.
type Bindings interface {
	// Find returns the call that a request asks for, or nil if none of the paths matches. If the
	// path is only for other HTTP methods, allow contains these.
	Find(r *http.Request) (bound *BoundRequest, allow []string)
	// Operations describes the bindings for the OpenAPI document.
	Operations() []Operation
}

// BoundRequest is an HTTP request that [Bindings] have matched to a method.
type BoundRequest struct {
	Method *registry.Method
	// Topic is the topic of the call if the path contains it. Otherwise, Topic is nil, and the header
	// Psrpc-Topic contains the topic.
	Topic []string
	// Message returns the request message as JSON; for a stream, it may return several JSON values.
	// body is the body of the HTTP request, whose size is limited.
	Message func(body io.Reader) ([]byte, error)
	// Response returns the part of a response message that the client gets. The message and the
	// result are JSON. The gateway does not change the result. If Response is nil, the client gets
	// the whole message.
	Response func(message []byte) ([]byte, error)
	// IsHTTPBody reports whether the client gets a google.api.HttpBody, which contains the body of
	// the HTTP response and its content type.
	IsHTTPBody bool
}

// response returns the part of a response message that the client gets. bound may be nil.
func (bound *BoundRequest) response(message []byte) ([]byte, error) {
	if bound == nil || bound.Response == nil {
		return message, nil
	}
	return bound.Response(message)
}

// Operation describes a path of [Bindings] in the OpenAPI document.
type Operation struct {
	Method *registry.Method
	// HTTPMethod is GET, PUT, POST, DELETE or PATCH.
	HTTPMethod string
	// Path has the names of variables in braces, such as "/v1/orders/{id}".
	Path string
	// PathParameters and QueryParameters contain the fields of the request message that are in the path
	// and in the query, keyed by name.
	PathParameters, QueryParameters map[string]protoreflect.FieldDescriptor
	// HasBody reports whether the request has a body. If BodyField is nil, the body is the whole
	// request message.
	HasBody   bool
	BodyField protoreflect.FieldDescriptor
	// ResponseField is the field of the response message that the client gets, or nil if the client
	// gets the whole message.
	ResponseField protoreflect.FieldDescriptor
	// RequestIsHTTPBody and ResponseIsHTTPBody report whether the bodies of requests and responses are
	// the content of a google.api.HttpBody.
	RequestIsHTTPBody, ResponseIsHTTPBody bool
	// HasTopic reports whether the path contains the topic.
	HasTopic bool
}
