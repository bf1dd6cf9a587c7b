// Package prommetrics exports the measurements of package metrics to Prometheus. Names are
// converted according to OpenTelemetry's rules for Prometheus: rpc.server.call.duration becomes
// rpc_server_call_duration_seconds, and dynpsrpc.bus.dropped becomes dynpsrpc_bus_dropped_total.
//
// The duration of a call with a sampled OpenTelemetry span is stored with an exemplar, which
// contains the IDs of the trace and the span. To use exemplars, pass tracing.New before
// metrics.New. Also set EnableOpenMetrics in promhttp.HandlerOpts, because only the OpenMetrics
// format has exemplars.
package prommetrics
