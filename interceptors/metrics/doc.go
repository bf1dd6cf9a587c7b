// Package metrics measures calls, streams and updates, and the buses, servers and conns that they go through. What is
// measured goes to an [Observer]: that of package prommetrics, of package otelmetrics, or one of your own, for which one
// method is enough.
//
//	observer, err := prommetrics.New(prometheus.DefaultRegisterer)
//	server := dynamic.NewServer(b, metrics.New(observer))
//	conn, err := dynamic.NewConn(b, reg, metrics.New(observer))
//	observer.Watch(metrics.BusSource("main", b))
//
// # Instruments
//
// Names, attributes and units follow version 1.43.0 of OpenTelemetry's semantic conventions, which define
//
//	rpc.client.call.duration  s  calls, multi calls and streams of a client, from beginning to end
//	rpc.server.call.duration  s  the same of a server; of a request, without the wait for a choice among servers
//
// The number of calls is the count of durations. Earlier versions of the conventions defined, once for each message, so
// that their counts are those of the messages,
//
//	rpc.client.request.size   By  requests and stream messages that a client sends
//	rpc.client.response.size  By  responses and stream messages that it receives
//	rpc.server.request.size   By  requests and stream messages that a server receives
//	rpc.server.response.size  By  responses and stream messages that it sends
//
// These are our own:
//
//	dynpsrpc.client.active_calls      calls, multi calls and streams under way
//	dynpsrpc.server.active_calls      the same
//	dynpsrpc.client.multi.responses   responses to multi calls, the errors among them
//	dynpsrpc.publish.duration     s   publications of updates
//	dynpsrpc.publish.size         By  updates that were published
//	dynpsrpc.delivery.duration    s   the time that a subscription's inner interceptors took for an update
//	dynpsrpc.delivery.size        By  updates that came
//
// Each has the attributes rpc.system.name, which is psrpc, and rpc.method; durations, and responses to multi calls, also
// have rpc.response.status_code, which is ok, the code of the error, or _OTHER for a code that package errors does not know,
// and error.type, which is that code or empty.
// Topics, of which there may be many, are an attribute, dynpsrpc.topic, only with [WithTopics].
//
// # Sources
//
// A [Source] reports the state of something at the moment in which somebody asks, each with the name that the program has
// given it:
//
//	dynpsrpc.bus.connected         1 or 0
//	dynpsrpc.bus.reconnects        and .published, .publish_errors, .received and .dropped, which are frames
//	dynpsrpc.server.waiting        stream messages that no handler has read yet
//	dynpsrpc.server.dropped        frames, by dynpsrpc.reason
//	dynpsrpc.conn.waiting          and .dropped, the same for a conn
//	dynpsrpc.subscription.waiting  updates that were not read yet; and .received, and .dropped by dynpsrpc.reason
package metrics
