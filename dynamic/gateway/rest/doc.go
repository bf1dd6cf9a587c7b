// Package rest gives the methods of a gateway the HTTP paths that the option google.api.http of a
// .proto file assigns to them:
//
//	rpc GetOrder(GetOrderRequest) returns (Order) {
//	  option (google.api.http) = { get: "/v1/orders/{id}" };
//	}
//
// [WithAnnotations] is an option of a gateway:
//
//	gw, err := gateway.New(conn, reg, gateway.WithMethods("shop.Orders/*"), rest.WithAnnotations())
//
// Path templates, variables, bodies, response bodies, custom HTTP methods and additional bindings
// are as in https://github.com/googleapis/googleapis/blob/master/google/api/http.proto. Fields of
// type google.api.HttpBody are sent as they are. Names in the query that are not fields are treated
// like unknown fields of a JSON request; see [gateway.WithStrictJSON].
//
// Errors have psrpc's HTTP status. Multi calls, streams and subscriptions are answered with
// newline-delimited JSON, or with server-sent events if the client accepts these. A stream gets one
// message of the client, or all JSON values of the body if the rule has body "*" and no variables.
// If the path has a variable for each topic parameter of the method, these variables are the topic.
// Otherwise, the header Psrpc-Topic contains it.
//
// Package rest links google.golang.org/genproto/googleapis/api/annotations into the program.
package rest
