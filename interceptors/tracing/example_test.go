package tracing_test

import (
	"context"
	"fmt"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/interceptors/tracing"
	"github.com/dynpsrpc/dynpsrpc/tests/allkinds"
)

// The spans of one call. Usually no provider is given, and otel.SetTracerProvider has set the global one.
func Example() {
	spans := tracetest.NewInMemoryExporter()
	provider := tracing.WithTracerProvider(sdk.NewTracerProvider(sdk.WithSyncer(spans)))
	reg, err := allkinds.Registry()
	check(err)
	b := bus.NewLocal()
	defer b.Close()
	server := dynamic.NewServer(b, tracing.New(provider))
	defer server.Kill()
	service, _ := reg.Service("kinds.All")
	_, err = server.Register(service, allkinds.Handlers())
	check(err)
	conn, err := dynamic.NewConn(b, reg, tracing.New(provider))
	check(err)
	defer conn.Close()
	_, err = dynamic.Invoke(context.Background(), conn, allkinds.One, &allkinds.Text{Value: "hello"})
	check(err)

	served, client := spans.GetSpans()[0], spans.GetSpans()[1]
	fmt.Println(client.SpanKind, client.Name)
	fmt.Println(served.SpanKind, served.Name)
	fmt.Println("one trace:", client.SpanContext.TraceID() == served.SpanContext.TraceID())
	fmt.Println("the client's is the server's parent:", client.SpanContext.SpanID() == served.Parent.SpanID())
	// Output:
	// client kinds.All/One
	// server kinds.All/One
	// one trace: true
	// the client's is the server's parent: true
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
