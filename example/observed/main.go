// Command observed demonstrates all interceptors of this module on a server and a client: metrics,
// tracing, logging, retries, authentication, limits and validation.
//
//	go run ./example/observed
//
// It makes five calls, publishes an update, and prints the results. It then prints the
// OpenTelemetry spans of the first call, which is retried once, and the metrics in the Prometheus
// format. The log is written to standard error. By default, the bus is in this process. With -bus,
// it can be Redis, and its metrics are printed, too.
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/interceptors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/breaker"
	"github.com/dynpsrpc/dynpsrpc/interceptors/limits"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics/prommetrics"
	"github.com/dynpsrpc/dynpsrpc/interceptors/tracing"
	"github.com/dynpsrpc/dynpsrpc/interceptors/validation"
	"github.com/dynpsrpc/dynpsrpc/registry"

	_ "github.com/dynpsrpc/dynpsrpc/bus/redisbus" // for the flag -bus
)

//go:embed shop.proto
var protos embed.FS

func main() {
	url := flag.String("bus", "local://", "`URL` of the bus, such as redis://127.0.0.1:6379")
	flag.Parse()
	if err := run(context.Background(), *url, os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string, out io.Writer, logger *slog.Logger) error {
	reg := registry.New()
	if err := reg.ParseProto(protos, "shop.proto"); err != nil {
		return err
	}
	page, spans := prometheus.NewRegistry(), tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(spans))
	observer, err := prommetrics.New(page)
	if err != nil {
		return err
	}
	measured, traced := metrics.New(observer, metrics.WithRequestEvents()), tracing.New(tracing.WithTracerProvider(provider))

	b, err := bus.Open(ctx, url, bus.WithLogger(logger))
	if err != nil {
		return err
	}
	defer b.Close()
	// On a server, the first interceptor is the one nearest to the bus.
	server := dynamic.NewServer(b,
		measured,
		traced,
		interceptors.Logging(logger),
		interceptors.ErrorMask(logger),
		interceptors.Recovery(logger, nil),
		interceptors.Auth(verify),
		limits.Concurrency(100),
		limits.Rate(1000, 100),
		validation.New(),
	)
	defer server.Shutdown(ctx)
	method, _ := reg.Method("shop.Shop/Order")
	s := &shop{order: method, tracer: provider.Tracer("shop")}
	service, err := server.Register(method.Service(), dynamic.Handlers{
		"Order": dynamic.Unary(s.take), "Stock": dynamic.Unary(s.count),
	})
	if err != nil {
		return err
	}
	// On a client, the first interceptor is the one nearest to the code that makes the call.
	conn, err := dynamic.NewConn(b, reg,
		measured,
		interceptors.Retry(),
		// Tracing comes after Retry, so that each attempt has its own span.
		traced,
		interceptors.Logging(logger),
		breaker.New(),
		interceptors.AuthToken(interceptors.StaticToken(token)),
	)
	if err != nil {
		return err
	}
	defer conn.Close()
	observer.Watch(metrics.BusSource("main", b), metrics.ServerSource("main", server), metrics.ConnSource("main", conn))
	goShopping(ctx, out, conn, provider.Tracer("client"))
	news, err := subscribe(ctx, conn)
	if err != nil {
		return err
	}
	defer news.Close()
	observer.Watch(metrics.SubscriptionSource("news", news))
	if err := service.Publish(ctx, "News", wrapperspb.String("the shop is closed")); err != nil {
		return err
	}
	fmt.Fprintln(out, "news:", (<-news.Channel()).GetValue())
	fmt.Fprintln(out, "\nThe spans of the first order:")
	printTrace(out, spans.GetSpans(), "shopping")
	fmt.Fprintln(out, "\nThe metrics for Prometheus:")
	return printPage(out, page)
}

func subscribe(ctx context.Context, conn *dynamic.Conn) (dynamic.Subscription[*wrapperspb.StringValue], error) {
	news, err := dynamic.NewClient[*emptypb.Empty, *wrapperspb.StringValue](conn, "shop.Shop/News")
	if err != nil {
		return nil, err
	}
	return news.Subscribe(ctx)
}
