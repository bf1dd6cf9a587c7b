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

// printTrace prints the spans with the name rootName and their descendants as trees. Each span is
// indented below its parent.
func printTrace(out io.Writer, spans tracetest.SpanStubs, rootName string) {
	slices.SortFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	var printTree func(parent tracetest.SpanStub, depth int)
	printTree = func(parent tracetest.SpanStub, depth int) {
		fmt.Fprintf(out, "%s%s (%s)", strings.Repeat("  ", depth), parent.Name, parent.SpanKind)
		for _, attribute := range parent.Attributes {
			fmt.Fprintf(out, " %s=%s", attribute.Key, attribute.Value.String())
		}
		fmt.Fprintln(out)
		for _, span := range spans {
			if span.Parent.SpanID() == parent.SpanContext.SpanID() {
				printTree(span, depth+1)
			}
		}
	}
	for _, span := range spans {
		if span.Name == rootName {
			printTree(span, 1)
		}
	}
}

// printPage prints the metrics in the format that Prometheus scrapes. A server usually serves them
// with promhttp.Handler.
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
