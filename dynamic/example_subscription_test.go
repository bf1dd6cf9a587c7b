package dynamic_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// A server publishes updates of a method with Registration.Publish. With MULTI routing every
// subscriber receives every update. A subscription method needs no handler.
func ExampleClient_Subscribe() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/empty.proto";
		import "google/protobuf/wrappers.proto";
		service Scores {
		  rpc Goals(google.protobuf.Empty) returns (google.protobuf.StringValue) {
		    option (psrpc.options).subscription = true;
		    option (psrpc.options).type = MULTI;
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"scores.proto": {Data: []byte(source)}}, "scores.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Scores")
	b := bus.NewLocal()
	defer b.Close()
	server := dynamic.NewServer(b)
	defer server.Kill()
	registration, err := server.Register(service, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	client, err := dynamic.NewClient[*emptypb.Empty, *wrapperspb.StringValue](conn, "example.Scores/Goals")
	if err != nil {
		fmt.Println(err)
		return
	}

	subscription, err := client.Subscribe(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, goal := range []string{"1:0", "1:1"} {
		if err := registration.Publish(context.Background(), "Goals", wrapperspb.String(goal)); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println((<-subscription.Channel()).GetValue())
	fmt.Println((<-subscription.Channel()).GetValue())

	subscription.Close() // returns nil, because the in-process bus always answers
	_, open := <-subscription.Channel()
	fmt.Println("open:", open, "error:", subscription.Err())
	// Output:
	// 1:0
	// 1:1
	// open: false error: <nil>
}

// Publish sends an update of one topic. Subscribers of other topics do not receive it.
func ExampleRegistration_Publish() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/empty.proto";
		import "google/protobuf/wrappers.proto";
		service Scores {
		  rpc Goals(google.protobuf.Empty) returns (google.protobuf.StringValue) {
		    option (psrpc.options).subscription = true;
		    option (psrpc.options).type = MULTI;
		    option (psrpc.options).topics = true;
		    option (psrpc.options).topic_params = { names: "game" };
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"scores.proto": {Data: []byte(source)}}, "scores.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Scores")
	b := bus.NewLocal()
	defer b.Close()
	server := dynamic.NewServer(b)
	defer server.Kill()
	registration, err := server.Register(service, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	subscription, err := dynamic.InvokeSubscribe(context.Background(), conn, "example.Scores/Goals",
		dynamic.WithTopic("final"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer subscription.Close()

	for _, game := range []string{"semifinal", "final"} {
		update := wrapperspb.String("goal in the " + game)
		if err := registration.Publish(context.Background(), "Goals", update, dynamic.WithTopic(game)); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println((<-subscription.Channel()).(*wrapperspb.StringValue).GetValue())
	// Output: goal in the final
}

// The function Publish sends an update from a program that has a conn and no server.
func ExamplePublish() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/empty.proto";
		import "google/protobuf/wrappers.proto";
		service Scores {
		  rpc Goals(google.protobuf.Empty) returns (google.protobuf.StringValue) {
		    option (psrpc.options).subscription = true;
		    option (psrpc.options).type = MULTI;
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"scores.proto": {Data: []byte(source)}}, "scores.proto"); err != nil {
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
	subscription, err := dynamic.InvokeSubscribe(context.Background(), conn, "example.Scores/Goals")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer subscription.Close()

	if err := dynamic.Publish(context.Background(), conn, "example.Scores/Goals", wrapperspb.String("1:0")); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println((<-subscription.Channel()).(*wrapperspb.StringValue).GetValue())
	// Output: 1:0
}

// A subscriber that reads too slowly loses updates. By default those are the oldest ones. With
// EndSubscription the subscription ends instead, so that the subscriber can load the current state
// and subscribe again.
func ExampleWithOverflow() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/empty.proto";
		import "google/protobuf/wrappers.proto";
		service Counter {
		  rpc Changed(google.protobuf.Empty) returns (google.protobuf.Int64Value) {
		    option (psrpc.options).subscription = true;
		    option (psrpc.options).type = MULTI;
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"counter.proto": {Data: []byte(source)}}, "counter.proto"); err != nil {
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
	const method = "example.Counter/Changed"
	client, err := dynamic.NewClient[*emptypb.Empty, *wrapperspb.Int64Value](conn, method)
	if err != nil {
		fmt.Println(err)
		return
	}

	newest, err := client.Subscribe(context.Background(),
		dynamic.WithBufferSize(10), dynamic.WithOverflow(dynamic.DropOldest))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer newest.Close()
	complete, err := client.Subscribe(context.Background(),
		dynamic.WithBufferSize(10), dynamic.WithOverflow(dynamic.EndSubscription))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer complete.Close()

	// The buffers cannot hold so many updates, and neither subscriber reads them yet.
	for value := range int64(100) {
		if err := dynamic.Publish(context.Background(), conn, method, wrapperspb.Int64(value)); err != nil {
			fmt.Println(err)
			return
		}
	}

	var last int64
	for last != 99 {
		last = (<-newest.Channel()).GetValue()
	}
	fmt.Println("last value:", last, "some dropped:", newest.Stats().Dropped > 0)

	received := 0
	for range complete.Channel() { // ends when the subscription has ended
		received++
	}
	fmt.Println("received all:", received == 100, "error:", complete.Err())
	// Output:
	// last value: 99 some dropped: true
	// received all: false error: the subscription to example.Counter/Changed has ended: its reader was too slow and its buffer was full
}
