// Package metrics measures calls, streams and updates, as well as the buses, servers and conns that
// carry them. Measurements are passed to an [Observer]. The subpackages prommetrics and otelmetrics
// provide observers for Prometheus and OpenTelemetry. For any other system, implement the single
// method of Observer.
//
//	observer, err := prommetrics.New(prometheus.DefaultRegisterer)
//	server := dynamic.NewServer(b, metrics.New(observer))
//	conn, err := dynamic.NewConn(b, reg, metrics.New(observer))
//	observer.Watch(metrics.BusSource("main", b))
//
// # Instruments
//
// Names, attributes and units follow version 1.43.0 of the OpenTelemetry semantic conventions,
// which define the following instruments:
//
//	rpc.client.call.duration  s  outgoing calls, multi calls and streams
//	rpc.server.call.duration  s  incoming calls and streams, excluding the time for server selection
//
// The count of a duration histogram is the number of calls. The following instruments are defined
// by earlier versions of the conventions. Every message is one measurement, so the counts of these
// histograms are numbers of messages:
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
// With the option [WithRequestEvents], there are also:
//
//	dynpsrpc.server.requests            requests that arrive or have expired, by dynpsrpc.event
//	dynpsrpc.server.claim.duration  s   from arrival of a request to outcome of the claim
//	dynpsrpc.client.claim.duration  s   from publication of a request to selection of a server
//
// The attribute dynpsrpc.event is received or expired. Requests that have expired are counted as
// both. The two histograms have the attribute dynpsrpc.claim, which is the outcome of the claim:
// granted, lost, timed_out, skipped or declined (see [dynamic.ClaimOutcome]).
//
// All of these instruments have the attributes rpc.system.name, which is psrpc, and rpc.method. The
// duration histograms and the counter of responses to multi calls also have two attributes that
// describe the result. The attribute rpc.response.status_code is ok, the code of the error, or
// _OTHER if package errors does not define the code. The attribute error.type is empty for a
// success and otherwise identical to rpc.response.status_code. The attribute dynpsrpc.topic is
// added only if [WithTopics] is used, because a method may have many topics. It is _OTHER for
// topics longer than 256 bytes and for topics beyond a maximum number. Without these limits, peers
// and users could create any number of time series.
//
// # Sources
//
// A [Source] reports the current state of a bus, server, conn or subscription whenever metrics are
// collected. The program gives each source a name, which becomes an attribute. The sources report
// the following instruments:
//
//	dynpsrpc.bus.connected          1 if the bus is connected to its broker, otherwise 0
//	dynpsrpc.bus.reconnects         reconnects to the broker
//	dynpsrpc.bus.published          frames published to the broker
//	dynpsrpc.bus.publish_errors     frames accepted for publication that could not be sent
//	dynpsrpc.bus.received           frames received from the broker
//	dynpsrpc.bus.dropped            frames lost between the broker and the process, by dynpsrpc.reason
//	dynpsrpc.server.waiting         received stream messages not yet read
//	dynpsrpc.server.dropped         dropped frames, by dynpsrpc.reason
//	dynpsrpc.conn.waiting           received stream messages not yet read
//	dynpsrpc.conn.dropped           dropped frames, by dynpsrpc.reason
//	dynpsrpc.subscription.waiting   received updates not yet read
//	dynpsrpc.subscription.received  updates received from the bus
//	dynpsrpc.subscription.dropped   dropped updates, by dynpsrpc.reason
package metrics
