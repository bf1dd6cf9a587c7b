// Package tracing creates OpenTelemetry spans for calls, streams and updates, and propagates their
// context from clients to servers and from publishers to subscribers.
//
//	server := dynamic.NewServer(b, tracing.New())
//	conn, err := dynamic.NewConn(b, reg, tracing.New())
//
// The context travels in the request's metadata, by default as W3C Trace Context under the keys
// traceparent and tracestate, which psrpc peers use as well. A server span is a child of the client
// span. Calls that a handler makes with its context, or with the context of its stream, are
// children of the server span.
//
//	call, multi call, stream   client and server spans, named after the method
//	stream message             an event, rpc.message, of both spans
//	response to a multi call   an event, rpc.message, of the client span
//	published update           a producer span, "publish" and the method
//	received update            a consumer span in a new trace, "deliver" and the method, with a link to
//	                           the producer span; it covers the subscription's inner interceptors
//
// Attributes follow version 1.43.0 of the OpenTelemetry semantic conventions; rpc.system.name is
// psrpc. The rpc.message event and its attributes come from earlier versions, because the current
// one defines none. The following attributes are specific to dynpsrpc:
//
//	dynpsrpc.topic       the topic of the call, with dots between its parts
//	dynpsrpc.client.id   on server spans, the client that sent the request
//	dynpsrpc.server.id   on client spans, the server that answered
//	dynpsrpc.attempt     the number of the attempt, from the second on, see interceptors.Attempt
//	dynpsrpc.reason      of failed calls, see errors.CallFacts
//	dynpsrpc.phase       of failed calls, see errors.CallFacts
package tracing
