package dynamic_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// kitchenSource is the .proto file of the examples for HandlersOf and Bind.
const kitchenSource = `
	syntax = "proto3";
	package example;
	import "options.proto";
	import "google/protobuf/wrappers.proto";
	service Kitchen {
	  rpc Cook(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
	    option (psrpc.options).type = AFFINITY;
	  }
	  rpc Stock(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
	    option (psrpc.options) = { topics: true topic_params: { names: "shelf" } type: MULTI };
	  }
	  rpc Order(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
	    option (psrpc.options).stream = true;
	  }
	}`

// kitchen implements the service example.Kitchen. Its methods have the names and signatures of the
// interface that psrpc would generate.
type kitchen struct{ idle float32 }

func (k *kitchen) Cook(_ context.Context, dish *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return wrapperspb.String("one " + dish.GetValue()), nil
}

func (k *kitchen) CookAffinity(*wrapperspb.StringValue) float32 { return k.idle }

func (k *kitchen) Stock(_ context.Context, item *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return wrapperspb.String("plenty of " + item.GetValue()), nil
}

func (k *kitchen) Order(stream dynamic.ServerStream[*wrapperspb.StringValue, *wrapperspb.StringValue]) error {
	for dish := range stream.Channel() {
		if err := stream.Send(wrapperspb.String("noted: " + dish.GetValue())); err != nil {
			return err
		}
	}
	return nil
}

func kitchenRegistry() (*registry.Registry, *registry.Service) {
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"kitchen.proto": {Data: []byte(kitchenSource)}}, "kitchen.proto"); err != nil {
		panic(err)
	}
	service, _ := reg.Service("example.Kitchen")
	return reg, service
}

// HandlersOf finds the handlers and affinity functions of a service among the methods of a Go type.
// If methods are missing or do not match, a single error reports all of them.
func ExampleHandlersOf() {
	reg, service := kitchenRegistry()
	b := bus.NewLocal()
	defer b.Close()
	server := dynamic.NewServer(b)
	defer server.Kill()

	if _, err := server.Register(service, dynamic.HandlersOf(&incompleteKitchen{})); err != nil {
		fmt.Println(err)
	}
	if _, err := server.Register(service, dynamic.HandlersOf(&kitchen{idle: 0.5})); err != nil {
		fmt.Println(err)
		return
	}

	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	response, err := dynamic.Invoke(context.Background(), conn, "example.Kitchen/Cook", wrapperspb.String("soup"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.(*wrapperspb.StringValue).GetValue())
	// Output:
	// service example.Kitchen, method Stock: *dynamic_test.incompleteKitchen has no method Stock(context.Context, *wrapperspb.StringValue) (*wrapperspb.StringValue, error); add it, or use dynamic.AllowMissing()
	// service example.Kitchen, method Order: *dynamic_test.incompleteKitchen has no method Order(dynamic.ServerStream[*wrapperspb.StringValue, *wrapperspb.StringValue]) error; add it, or use dynamic.AllowMissing()
	// service example.Kitchen, method Cook: the handler does not fit: (*dynamic_test.incompleteKitchen).Cook: the method has AFFINITY routing: add the method CookAffinity(context.Context, *wrapperspb.StringValue) float32
	// one soup
}

type incompleteKitchen struct{}

func (*incompleteKitchen) Cook(_ context.Context, dish *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return dish, nil
}

// shelf is the Go type of the topics of Stock.
type shelf string

// kitchenClient has a function for each method of the service.
type kitchenClient struct {
	Cook  dynamic.UnaryFunc[*wrapperspb.StringValue, *wrapperspb.StringValue]
	Stock dynamic.TopicMultiFunc[shelf, *wrapperspb.StringValue, *wrapperspb.StringValue]
	Order dynamic.StreamFunc[*wrapperspb.StringValue, *wrapperspb.StringValue]
}

// Bind fills a struct with functions that call the methods of a service. They are called like the
// methods of a generated client.
func ExampleBind() {
	reg, service := kitchenRegistry()
	b := bus.NewLocal()
	defer b.Close()
	server := dynamic.NewServer(b)
	defer server.Kill()
	registration, err := server.Register(service, dynamic.HandlersOf(&kitchen{idle: 0.5}))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := registration.RegisterTopic("Stock", "top"); err != nil {
		fmt.Println(err)
		return
	}

	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	var client kitchenClient
	if err := dynamic.Bind(conn, "example.Kitchen", &client); err != nil {
		fmt.Println(err)
		return
	}

	ctx := context.Background()
	dish, err := client.Cook(ctx, wrapperspb.String("soup"))
	fmt.Println(dish.GetValue(), err)
	responses, err := client.Stock(ctx, shelf("top"), wrapperspb.String("salt"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for response := range responses {
		fmt.Println(response.Result.GetValue(), response.Err)
	}
	stream, err := client.Order(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(stream.Send(wrapperspb.String("pie")), (<-stream.Channel()).GetValue())
	fmt.Println(stream.Close(nil))
	// Output:
	// one soup <nil>
	// plenty of salt <nil>
	// <nil> noted: pie
	// <nil>
}

// A test can set a field of the client to its own function. It then needs no server and no bus.
func ExampleBind_fake() {
	client := kitchenClient{
		Cook: func(context.Context, *wrapperspb.StringValue, ...dynamic.RequestOption) (*wrapperspb.StringValue, error) {
			return wrapperspb.String("a fake"), nil
		},
	}
	dish, err := client.Cook(context.Background(), wrapperspb.String("soup"))
	fmt.Println(dish.GetValue(), err)
	// Output: a fake <nil>
}
