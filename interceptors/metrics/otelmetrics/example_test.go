package otelmetrics_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics/otelmetrics"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const source = `
	syntax = "proto3";
	package example;
	import "google/protobuf/wrappers.proto";
	service Greeter {
	  rpc Hello(google.protobuf.StringValue) returns (google.protobuf.StringValue);
	}`

// The example makes three calls and prints the collected metrics. Most programs pass a nil
// provider, which stands for the global one.
func Example() {
	reader := metric.NewManualReader()
	observer := otelmetrics.New(metric.NewMeterProvider(metric.WithReader(reader)))

	b, reg := bus.NewLocal(), registry.New()
	defer b.Close()
	check(reg.ParseProto(fstest.MapFS{"greeter.proto": {Data: []byte(source)}}, "greeter.proto"))
	greeter, _ := reg.Service("example.Greeter")
	server := dynamic.NewServer(b, metrics.New(observer))
	defer server.Kill()
	_, err := server.Register(greeter, dynamic.Handlers{
		"Hello": dynamic.Unary(func(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			return wrapperspb.String("Hello, " + name.GetValue()), nil
		}),
	})
	check(err)
	conn, err := dynamic.NewConn(b, reg)
	check(err)
	defer conn.Close()
	for range 3 {
		_, err = dynamic.Invoke(context.Background(), conn, "example.Greeter/Hello", wrapperspb.String("Ada"))
		check(err)
	}

	var collected metricdata.ResourceMetrics
	check(reader.Collect(context.Background(), &collected))
	for _, m := range collected.ScopeMetrics[0].Metrics {
		if histogram, ok := m.Data.(metricdata.Histogram[float64]); ok {
			fmt.Println(m.Name, m.Unit, histogram.DataPoints[0].Count)
		}
	}
	// Unordered output:
	// rpc.server.call.duration s 3
	// rpc.server.request.size By 3
	// rpc.server.response.size By 3
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
