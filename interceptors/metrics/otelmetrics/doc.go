// Package otelmetrics exports the measurements of package metrics to OpenTelemetry.
package otelmetrics
