// Package prommetrics hands what package metrics measures to Prometheus. Names are those of package metrics, by the rules of
// OpenTelemetry for Prometheus: rpc.server.call.duration becomes rpc_server_call_duration_seconds, and
// dynpsrpc.bus.dropped becomes dynpsrpc_bus_dropped_total.
package prommetrics
