// Package tracing creates OpenTelemetry spans for calls, streams and updates. It propagates the
// span context from clients to servers and from publishers to subscribers.
//
//	server := dynamic.NewServer(b, tracing.New())
//	conn, err := dynamic.NewConn(b, reg, tracing.New())
//
// The span context is sent in the metadata of the request, by default as W3C Trace Context under
// the keys traceparent and tracestate. psrpc peers use the same keys. A server span is a child of
// the client span. If a handler makes calls with its own context or with that of its stream, the
// spans of these calls are children of the server span.
//
//	call, multi call, stream   client and server spans, named after the method
//	stream message             an rpc.message event on both spans
//	response to a multi call   an rpc.message event on the client span
//	published update           a producer span, named "publish" followed by the method
//	received update            a consumer span in a new trace, named "deliver" followed by the method
//	                           and linked to the producer span; the span covers the
//	                           inner interceptors of the subscription
//
// Attributes follow version 1.43.0 of the OpenTelemetry semantic conventions; rpc.system.name is
// psrpc. The rpc.message event and its attributes come from earlier versions, because version
// 1.43.0 does not define such an event. The following attributes are specific to dynpsrpc:
//
//	dynpsrpc.topic       the topic of the call, with its parts separated by dots; a part that is
//	                     empty or contains a dot or quote is quoted
//	dynpsrpc.client.id   on server spans, the ID of the client that sent the request
//	dynpsrpc.server.id   on client spans, the ID of the server that responded
//	dynpsrpc.attempt     the number of the attempt, set only for retries (see interceptors.Attempt)
//	dynpsrpc.reason      the reason why the call failed (see errors.CallFacts)
//	dynpsrpc.phase       the phase in which the call failed (see errors.CallFacts)
package tracing
