// Package tracing makes OpenTelemetry spans of calls, streams and updates, and carries their context from clients to servers
// and from publishers to subscribers.
//
//	server := dynamic.NewServer(b, tracing.New())
//	conn, err := dynamic.NewConn(b, reg, tracing.New())
//
// The context travels as metadata, by default as the W3C's trace context with the keys traceparent and tracestate; those
// are what psrpc's peers use for calls. A server's span is a child of the client's. In a handler, calls made with the
// handler's context are children of the server's span; so are those of a stream's handler with the stream's context.
//
//	call, multi call, stream   client and server spans, named by the method
//	message of a stream        an event, rpc.message, of both spans
//	response to a multi call   an event, rpc.message, of the client's span
//	publication                a producer span, "publish" and the method
//	update that comes          a consumer span of a trace of its own, "deliver" and the method, with a link to the
//	                           producer's span; it lasts as long as the subscription's inner interceptors take
//
// Attributes follow version 1.43.0 of OpenTelemetry's semantic conventions; rpc.system.name is psrpc. The event and its
// attributes are those of earlier versions; newer ones define none. Of our own are dynpsrpc.topic, dynpsrpc.client.id and
// dynpsrpc.server.id, which are the other side, dynpsrpc.attempt, from the second one on, see interceptors.Attempt, and, of
// calls that fail, dynpsrpc.reason and dynpsrpc.phase, see errors.CallFacts.
package tracing
