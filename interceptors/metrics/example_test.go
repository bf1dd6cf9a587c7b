package metrics_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const source = `
	syntax = "proto3";
	package example;
	import "google/protobuf/wrappers.proto";
	service Greeter {
	  rpc Hello(google.protobuf.StringValue) returns (google.protobuf.StringValue);
	}`

// printer is an observer that prints the sizes of messages.
type printer struct{}

func (printer) Observe(_ context.Context, instrument *metrics.Instrument, value float64, labels ...string) {
	if instrument.Unit == "By" {
		fmt.Println(instrument.Name, value, labels)
	}
}

// Any type that has a method Observe can receive measurements.
func ExampleObserver() {
	measured := metrics.New(printer{})

	b, reg := bus.NewLocal(), registry.New()
	defer b.Close()
	check(reg.ParseProto(fstest.MapFS{"greeter.proto": {Data: []byte(source)}}, "greeter.proto"))
	greeter, _ := reg.Service("example.Greeter")
	server := dynamic.NewServer(b, measured)
	defer server.Kill()
	_, err := server.Register(greeter, dynamic.Handlers{
		"Hello": dynamic.Unary(func(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			return wrapperspb.String("Hello, " + name.GetValue()), nil
		}),
	})
	check(err)
	conn, err := dynamic.NewConn(b, reg, measured)
	check(err)
	defer conn.Close()
	_, err = dynamic.Invoke(context.Background(), conn, "example.Greeter/Hello", wrapperspb.String("Ada"))
	check(err)
	// Output:
	// rpc.client.request.size 5 [psrpc example.Greeter/Hello]
	// rpc.server.request.size 5 [psrpc example.Greeter/Hello]
	// rpc.server.response.size 12 [psrpc example.Greeter/Hello]
	// rpc.client.response.size 12 [psrpc example.Greeter/Hello]
}

// A program can also read a source itself, without an observer.
func ExampleServerSource() {
	b := bus.NewLocal()
	defer b.Close()
	server := dynamic.NewServer(b)
	defer server.Kill()
	metrics.ServerSource("main", server)(func(instrument *metrics.Instrument, value float64, labels ...string) {
		fmt.Println(instrument.Name, value, labels)
	})
	// Output:
	// dynpsrpc.server.waiting 0 [main]
	// dynpsrpc.server.dropped 0 [main bad_frame]
	// dynpsrpc.server.dropped 0 [main expired]
	// dynpsrpc.server.dropped 0 [main duplicated]
	// dynpsrpc.server.dropped 0 [main unmatched]
	// dynpsrpc.server.dropped 0 [main overflowed]
	// dynpsrpc.server.dropped 0 [main unsent]
	// dynpsrpc.server.dropped 0 [main evicted]
	// dynpsrpc.server.dropped 0 [main refused]
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
