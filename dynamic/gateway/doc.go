// Package gateway serves the methods of a bus over HTTP. A [Gateway] is an http.Handler; every
// request that it accepts becomes a call, a multi call, a stream or a subscription of a
// [dynamic.Conn]. The gateway needs no generated code: the services of a registry determine its
// routes.
//
//	gw, err := gateway.New(conn, reg, gateway.WithMethods("shop.Orders/*"))
//	err = http.ListenAndServe("127.0.0.1:8080", gw)
//
// # Protocols
//
// The path of a method is "/pkg.Service/Method". The content type of the request and its Accept and
// Upgrade headers select the protocol:
//
//   - Connect, gRPC and gRPC-Web, with protobuf or JSON. gRPC needs HTTP/2; see [Server].
//   - Server-sent events: Accept: text/event-stream.
//   - Newline-delimited JSON: Accept: application/x-ndjson.
//   - WebSocket with the subprotocol "psrpc.v1".
//
// For HTTP clients, single calls are unary, multi calls and subscriptions are server streams, and
// streams are bidirectional. Over SSE and NDJSON, the client sends all its messages with the
// request, and the response contains the messages of the server. A browser's EventSource can use
// only GET, which is for subscriptions and for methods with idempotency_level = NO_SIDE_EFFECTS.
//
// # Requests
//
// The header Psrpc-Topic contains the topic, its parts joined by slashes; GET requests and
// WebSockets may use the query parameter "topic" instead. Psrpc-Expect is the number of responses
// after which a multi call ends. Psrpc-Select selects a server: "first", "min=0.5", "max=0.9". A
// header Psrpc-Meta-<key> becomes metadata of the call. Connect-Timeout-Ms and Grpc-Timeout limit a
// call. If a client goes away, its call is canceled.
//
// The header Psrpc-Server of a response contains the ID of the server that has answered. For single
// calls, Psrpc-Request-Id contains the ID of the request, and Server-Timing the durations of the
// phases.
//
// # Errors
//
// Connect, gRPC and gRPC-Web get the code that corresponds to the code of the error. psrpc's own
// code is in the detail google.rpc.ErrorInfo, whose domain is "psrpc". The other protocols get a
// JSON object with psrpc's code and the text, and the HTTP status of [errors.ErrorCode.ToHttp].
//
// # Behavior under load
//
// The options limit the sizes of messages, the numbers of running calls and of open streams, and
// the duration of calls. A client that reads too slowly is disconnected and does not delay others.
//
// # Security
//
// A gateway serves only the methods that [WithMethods] names, and refuses requests from web pages
// of other sites unless [WithCORS] names them. By itself, it neither encrypts connections nor
// authenticates clients: use [WithAuthorize], and a proxy or http.Server.ServeTLS. See
// docs/security.md.
package gateway
