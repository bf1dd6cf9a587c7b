// Package metrics measures calls, streams and updates, and the buses, servers and conns that carry
// them. Measurements go to an [Observer]. The subpackages prommetrics and otelmetrics provide
// observers for Prometheus and OpenTelemetry; for any other system, implement the one method of
// Observer.
//
//	observer, err := prommetrics.New(prometheus.DefaultRegisterer)
//	server := dynamic.NewServer(b, metrics.New(observer))
//	conn, err := dynamic.NewConn(b, reg, metrics.New(observer))
//	observer.Watch(metrics.BusSource("main", b))
//
// # Instruments
//
// Names, attributes and units follow version 1.43.0 of the OpenTelemetry semantic conventions. The
// following instruments are defined there:
//
//	rpc.client.call.duration  s  outgoing calls, multi calls and streams
//	rpc.server.call.duration  s  incoming calls and streams, without the time for server selection
//
// The count of a duration histogram is the number of calls. Earlier versions of the conventions
// define the following instruments. Each message is one measurement, so their counts are numbers of
// messages:
//
//	rpc.client.request.size   By  requests and stream messages sent by a client
//	rpc.client.response.size  By  responses and stream messages received by a client
//	rpc.server.request.size   By  requests and stream messages received by a server
//	rpc.server.response.size  By  responses and stream messages sent by a server
//
// The following instruments are specific to dynpsrpc:
//
//	dynpsrpc.client.active_calls      outgoing calls, multi calls and streams in progress
//	dynpsrpc.server.active_calls      incoming calls and streams in progress
//	dynpsrpc.client.multi.responses   responses to multi calls, including errors
//	dynpsrpc.publish.duration     s   publications of updates
//	dynpsrpc.publish.size         By  published updates
//	dynpsrpc.delivery.duration    s   processing of a received update by the inner interceptors
//	dynpsrpc.delivery.size        By  received updates
//
// All of them have the attributes rpc.system.name, which is psrpc, and rpc.method. Durations and
// responses to multi calls also have two attributes for the result: rpc.response.status_code is ok,
// the code of the error, or _OTHER for a code that package errors does not define; error.type is
// the same code, or empty for a success. The attribute dynpsrpc.topic exists only with
// [WithTopics], because a method may have many topics.
//
// # Sources
//
// A [Source] reports the current state of an object whenever metrics are collected. Each object has
// a name chosen by the program, which becomes an attribute:
//
//	dynpsrpc.bus.connected         1 or 0
//	dynpsrpc.bus.reconnects        and .published, .publish_errors, .received and .dropped, in frames
//	dynpsrpc.server.waiting        stream messages not yet read by a handler
//	dynpsrpc.server.dropped        dropped frames, by dynpsrpc.reason
//	dynpsrpc.conn.waiting          and .dropped, as for a server
//	dynpsrpc.subscription.waiting  unread updates; and .received, and .dropped by dynpsrpc.reason
package metrics
