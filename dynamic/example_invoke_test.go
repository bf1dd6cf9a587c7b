package dynamic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing/fstest"

	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// A request can be a map or JSON, in protobuf's JSON mapping. The type of the request exists only
// in the .proto source here, so the handler takes a *dynamicpb.Message.
func ExampleInvoke_mapAndJSON() {
	const source = `
		syntax = "proto3";
		package example;
		import "google/protobuf/wrappers.proto";
		message OrderRequest {
		  string item = 1;
		  int32 pieces = 2;
		}
		service Shop {
		  rpc Order(OrderRequest) returns (google.protobuf.StringValue);
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"shop.proto": {Data: []byte(source)}}, "shop.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Shop")
	b := bus.NewLocal()
	defer b.Close()
	order := func(_ context.Context, request *dynamicpb.Message) (*wrapperspb.StringValue, error) {
		fields := request.Descriptor().Fields()
		item := request.Get(fields.ByName("item")).String()
		pieces := request.Get(fields.ByName("pieces")).Int()
		return wrapperspb.String(fmt.Sprintf("ordered %d of %q", pieces, item)), nil
	}
	server := dynamic.NewServer(b)
	defer server.Kill()
	if _, err := server.Register(service, dynamic.Handlers{"Order": dynamic.Unary(order)}); err != nil {
		fmt.Println(err)
		return
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	for _, request := range []any{
		map[string]any{"item": "pencil", "pieces": 3},
		json.RawMessage(`{"item": "paper", "pieces": 500}`),
		map[string]any{"item": "pencil", "color": "red"}, // OrderRequest has no such field
	} {
		response, err := dynamic.Invoke(context.Background(), conn, "example.Shop/Order", request)
		if coded, ok := errors.AsType[errors.Error](err); ok {
			fmt.Println("not sent:", coded.Code())
			continue
		}
		fmt.Println(response.(*wrapperspb.StringValue).GetValue())
	}
	// Output:
	// ordered 3 of "pencil"
	// ordered 500 of "paper"
	// not sent: invalid_argument
}

// InvokeMulti calls every server. A nil request is an empty message.
func ExampleInvokeMulti() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/empty.proto";
		import "google/protobuf/wrappers.proto";
		service Fleet {
		  rpc Version(google.protobuf.Empty) returns (google.protobuf.StringValue) {
		    option (psrpc.options).type = MULTI;
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"fleet.proto": {Data: []byte(source)}}, "fleet.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Fleet")
	b := bus.NewLocal()
	defer b.Close()
	for id, version := range map[string]string{"server-1": "v1.4.0", "server-2": "v1.5.0"} {
		handler := func(context.Context, *emptypb.Empty) (*wrapperspb.StringValue, error) {
			return wrapperspb.String(version), nil
		}
		server := dynamic.NewServer(b, dynamic.WithServerID(id))
		defer server.Kill()
		if _, err := server.Register(service, dynamic.Handlers{"Version": dynamic.Unary(handler)}); err != nil {
			fmt.Println(err)
			return
		}
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	responses, err := dynamic.InvokeMulti(context.Background(), conn, "example.Fleet/Version", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	var lines []string
	for response := range responses { // delivers the responses in the order of their arrival
		if response.Err != nil {
			fmt.Println(response.ServerID, response.Err)
			continue
		}
		lines = append(lines, response.ServerID+": "+response.Result.(*wrapperspb.StringValue).GetValue())
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Println(line)
	}
	// Output:
	// server-1: v1.4.0
	// server-2: v1.5.0
}

// InvokeStream opens a stream of a method that is known by name only. Its messages can be JSON,
// like the requests of Invoke.
func ExampleInvokeStream() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/wrappers.proto";
		service Echo {
		  rpc Talk(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
		    option (psrpc.options).stream = true;
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"echo.proto": {Data: []byte(source)}}, "echo.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Echo")
	b := bus.NewLocal()
	defer b.Close()
	talk := func(stream dynamic.ServerStream[*wrapperspb.StringValue, *wrapperspb.StringValue]) error {
		for message := range stream.Channel() {
			if err := stream.Send(message); err != nil {
				return err
			}
		}
		return nil
	}
	server := dynamic.NewServer(b)
	defer server.Kill()
	if _, err := server.Register(service, dynamic.Handlers{"Talk": dynamic.Stream(talk)}); err != nil {
		fmt.Println(err)
		return
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	stream, err := dynamic.InvokeStream(context.Background(), conn, "example.Echo/Talk")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stream.Close(nil)
	for _, message := range []any{json.RawMessage(`"from JSON"`), wrapperspb.String("from Go")} {
		if err := stream.Send(message); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println((<-stream.Channel()).(*wrapperspb.StringValue).GetValue())
	}
	// Output:
	// from JSON
	// from Go
}

// InvokeSubscribe subscribes to a method that is known by name only. Here the type of the updates
// exists only in the .proto source, so they are dynamic messages.
func ExampleInvokeSubscribe() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/empty.proto";
		message Price {
		  string item = 1;
		  int32 cents = 2;
		}
		service Shop {
		  rpc Prices(google.protobuf.Empty) returns (Price) {
		    option (psrpc.options).subscription = true;
		    option (psrpc.options).type = MULTI;
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"shop.proto": {Data: []byte(source)}}, "shop.proto"); err != nil {
		fmt.Println(err)
		return
	}
	b := bus.NewLocal()
	defer b.Close()
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	subscription, err := dynamic.InvokeSubscribe(context.Background(), conn, "example.Shop/Prices")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer subscription.Close()
	update := map[string]any{"item": "pencil", "cents": 120}
	if err := dynamic.Publish(context.Background(), conn, "example.Shop/Prices", update); err != nil {
		fmt.Println(err)
		return
	}
	price := (<-subscription.Channel()).ProtoReflect()
	fields := price.Descriptor().Fields()
	fmt.Println(price.Get(fields.ByName("item")), price.Get(fields.ByName("cents")))
	// Output: pencil 120
}
