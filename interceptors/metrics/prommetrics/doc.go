// Package prommetrics exports the measurements of package metrics to Prometheus. Names are
// converted according to OpenTelemetry's rules for Prometheus: rpc.server.call.duration becomes
// rpc_server_call_duration_seconds, and dynpsrpc.bus.dropped becomes dynpsrpc_bus_dropped_total.
package prommetrics
