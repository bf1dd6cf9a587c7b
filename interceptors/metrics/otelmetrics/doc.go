// Package otelmetrics hands what package metrics measures to OpenTelemetry.
package otelmetrics
