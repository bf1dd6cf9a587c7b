package prommetrics_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics/prommetrics"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const source = `
	syntax = "proto3";
	package example;
	import "google/protobuf/wrappers.proto";
	service Greeter {
	  rpc Hello(google.protobuf.StringValue) returns (google.protobuf.StringValue);
	}`

// The example makes one call and prints the collected metrics. Most programs register the metrics
// with prometheus.DefaultRegisterer, whose metrics promhttp.Handler serves.
func Example() {
	registry := prometheus.NewRegistry()
	observer, err := prommetrics.New(registry)
	if err != nil {
		fmt.Println(err)
		return
	}
	hello(metrics.New(observer))

	families, err := registry.Gather()
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if histogram := metric.GetHistogram(); histogram != nil {
				fmt.Println(family.GetName(), histogram.GetSampleCount())
			} else {
				fmt.Println(family.GetName(), metric.GetGauge().GetValue())
			}
		}
	}
	fmt.Println(err)
	// Output:
	// dynpsrpc_client_active_calls 0
	// dynpsrpc_server_active_calls 0
	// rpc_client_call_duration_seconds 1
	// rpc_client_request_size_bytes 1
	// rpc_client_response_size_bytes 1
	// rpc_server_call_duration_seconds 1
	// rpc_server_request_size_bytes 1
	// rpc_server_response_size_bytes 1
	// <nil>
}

// hello makes one call, with the given option on the server and on the conn.
func hello(option dynamic.Option) {
	b, reg := bus.NewLocal(), registry.New()
	defer b.Close()
	check(reg.ParseProto(fstest.MapFS{"greeter.proto": {Data: []byte(source)}}, "greeter.proto"))
	greeter, _ := reg.Service("example.Greeter")
	server := dynamic.NewServer(b, option)
	defer server.Kill()
	_, err := server.Register(greeter, dynamic.Handlers{
		"Hello": dynamic.Unary(func(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			return wrapperspb.String("Hello, " + name.GetValue()), nil
		}),
	})
	check(err)
	conn, err := dynamic.NewConn(b, reg, option)
	check(err)
	defer conn.Close()
	_, err = dynamic.Invoke(context.Background(), conn, "example.Greeter/Hello", wrapperspb.String("Ada"))
	check(err)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
