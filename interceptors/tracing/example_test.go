package tracing_test

import (
	"context"
	"fmt"
	"testing/fstest"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/interceptors/tracing"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const source = `
	syntax = "proto3";
	package example;
	import "google/protobuf/wrappers.proto";
	service Greeter {
	  rpc Hello(google.protobuf.StringValue) returns (google.protobuf.StringValue);
	}`

// The example makes one call and prints its spans. Most programs set a global provider with
// otel.SetTracerProvider and need no option.
func Example() {
	spans := tracetest.NewInMemoryExporter()
	traced := tracing.New(tracing.WithTracerProvider(sdk.NewTracerProvider(sdk.WithSyncer(spans))))

	b, reg := bus.NewLocal(), registry.New()
	defer b.Close()
	check(reg.ParseProto(fstest.MapFS{"greeter.proto": {Data: []byte(source)}}, "greeter.proto"))
	greeter, _ := reg.Service("example.Greeter")
	server := dynamic.NewServer(b, traced)
	defer server.Kill()
	_, err := server.Register(greeter, dynamic.Handlers{
		"Hello": dynamic.Unary(func(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			return wrapperspb.String("Hello, " + name.GetValue()), nil
		}),
	})
	check(err)
	conn, err := dynamic.NewConn(b, reg, traced)
	check(err)
	defer conn.Close()
	_, err = dynamic.Invoke(context.Background(), conn, "example.Greeter/Hello", wrapperspb.String("Ada"))
	check(err)

	ofServer, ofClient := spans.GetSpans()[0], spans.GetSpans()[1]
	fmt.Println(ofClient.SpanKind, ofClient.Name)
	fmt.Println(ofServer.SpanKind, ofServer.Name)
	fmt.Println("one trace:", ofClient.SpanContext.TraceID() == ofServer.SpanContext.TraceID())
	fmt.Println("the client's is the server's parent:", ofClient.SpanContext.SpanID() == ofServer.Parent.SpanID())
	// Output:
	// client example.Greeter/Hello
	// server example.Greeter/Hello
	// one trace: true
	// the client's is the server's parent: true
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
