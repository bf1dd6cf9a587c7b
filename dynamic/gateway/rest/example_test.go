package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing/fstest"

	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway/rest"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func ExampleWithAnnotations() {
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	reg := registry.New()
	check(reg.ParseProto(fstest.MapFS{
		"google/api/annotations.proto": googleapis["google/api/annotations.proto"],
		"google/api/http.proto":        googleapis["google/api/http.proto"],
		"shop.proto": {Data: []byte(`
			syntax = "proto3";
			package shop;
			import "google/api/annotations.proto";
			message Order { string id = 1; int32 count = 2; }
			service Orders {
			  rpc Get(Order) returns (Order) { option (google.api.http) = { get: "/v1/orders/{id}" }; }
			}`)},
	}, "shop.proto"))
	orders, err := reg.FindService("shop.Orders")
	check(err)
	b := bus.NewLocal()
	server := dynamic.NewServer(b)
	defer server.Shutdown(context.Background())
	_, err = server.Register(orders, dynamic.Handlers{
		"Get": dynamic.Unary(func(_ context.Context, order *dynamicpb.Message) (*dynamicpb.Message, error) { return order, nil }),
	})
	check(err)
	conn, err := dynamic.NewConn(b, reg)
	check(err)
	defer conn.Close()

	gw, err := gateway.New(conn, reg, gateway.WithMethods("shop.Orders/*"), rest.WithAnnotations())
	check(err)
	response := httptest.NewRecorder()
	gw.ServeHTTP(response, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/v1/orders/o-7?count=2", http.NoBody))
	fmt.Print(response.Code, " ", response.Body)

	// Output:
	// 200 {"id":"o-7","count":2}
}
