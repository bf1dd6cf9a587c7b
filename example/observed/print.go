package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// printTrace prints the spans below the one of this name, each under its cause.
func printTrace(out io.Writer, spans tracetest.SpanStubs, root string) {
	slices.SortFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	var below func(cause tracetest.SpanStub, depth int)
	below = func(cause tracetest.SpanStub, depth int) {
		fmt.Fprintf(out, "%s%s (%s)", strings.Repeat("  ", depth), cause.Name, cause.SpanKind)
		for _, attribute := range cause.Attributes {
			fmt.Fprintf(out, " %s=%s", attribute.Key, attribute.Value.String())
		}
		fmt.Fprintln(out)
		for _, span := range spans {
			if span.Parent.SpanID() == cause.SpanContext.SpanID() {
				below(span, depth+1)
			}
		}
	}
	for _, span := range spans {
		if span.Name == root {
			below(span, 1)
		}
	}
}

// printPage prints what Prometheus gets when it asks. Usually promhttp.Handler answers it.
func printPage(out io.Writer, page prometheus.Gatherer) error {
	families, err := page.Gather()
	if err != nil {
		return err
	}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(out, family); err != nil {
			return err
		}
	}
	return nil
}
