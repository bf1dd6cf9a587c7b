package dynamic_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// The client opens a stream, sends and receives messages, and closes the stream with an error. The
// handler sees that error.
func ExampleClient_OpenStream() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/wrappers.proto";
		service Adder {
		  rpc Add(google.protobuf.Int64Value) returns (google.protobuf.Int64Value) {
		    option (psrpc.options).stream = true;
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"adder.proto": {Data: []byte(source)}}, "adder.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Adder")
	b := bus.NewLocal()
	defer b.Close()

	closed := make(chan error, 1)
	add := func(stream dynamic.ServerStream[*wrapperspb.Int64Value, *wrapperspb.Int64Value]) error {
		var sum int64
		for number := range stream.Channel() { // ends when the client closes the stream
			sum += number.GetValue()
			if err := stream.Send(wrapperspb.Int64(sum)); err != nil {
				return err
			}
		}
		closed <- stream.Err()
		return nil
	}
	server := dynamic.NewServer(b)
	defer server.Kill()
	if _, err := server.Register(service, dynamic.Handlers{"Add": dynamic.Stream(add)}); err != nil {
		fmt.Println(err)
		return
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	client, err := dynamic.NewClient[*wrapperspb.Int64Value, *wrapperspb.Int64Value](conn, "example.Adder/Add")
	if err != nil {
		fmt.Println(err)
		return
	}

	stream, err := client.OpenStream(context.Background())
	if err != nil { // no server has accepted the stream
		fmt.Println(err)
		return
	}
	for number := int64(1); number <= 3; number++ {
		if err := stream.Send(wrapperspb.Int64(number)); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("sum:", (<-stream.Channel()).GetValue())
	}
	if err := stream.Close(errors.NewErrorf(errors.Aborted, "out of numbers")); err != nil {
		fmt.Println(err)
	}
	fmt.Println("the handler sees:", <-closed)
	// Output:
	// sum: 1
	// sum: 3
	// sum: 6
	// the handler sees: out of numbers
}

// A handler whose stream has a window sends without waiting for each acknowledgement. Flush waits
// until all messages are acknowledged. A client calls Flush of its ClientStream in the same way.
func ExampleFlusher() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/wrappers.proto";
		service Counter {
		  rpc Count(google.protobuf.Int64Value) returns (google.protobuf.Int64Value) {
		    option (psrpc.options).stream = true;
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"counter.proto": {Data: []byte(source)}}, "counter.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Counter")
	b := bus.NewLocal()
	defer b.Close()

	count := func(stream dynamic.ServerStream[*wrapperspb.Int64Value, *wrapperspb.Int64Value]) error {
		limit := <-stream.Channel()
		for number := int64(1); number <= limit.GetValue(); number++ {
			if err := stream.Send(wrapperspb.Int64(number)); err != nil {
				return err
			}
		}
		return stream.(dynamic.Flusher).Flush(stream.Context())
	}
	server := dynamic.NewServer(b)
	defer server.Kill()
	_, err := server.Register(service, dynamic.Handlers{
		// Up to 16 messages may wait for their acknowledgement.
		"Count": dynamic.Stream(count, dynamic.WithStreamWindow(16)),
	})
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
	client, err := dynamic.NewClient[*wrapperspb.Int64Value, *wrapperspb.Int64Value](conn, "example.Counter/Count")
	if err != nil {
		fmt.Println(err)
		return
	}
	stream, err := client.OpenStream(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stream.Close(nil)
	if err := stream.Send(wrapperspb.Int64(1000)); err != nil {
		fmt.Println(err)
		return
	}
	var received, last int64
	for number := range stream.Channel() { // ends when the handler returns
		received, last = received+1, number.GetValue()
	}
	fmt.Printf("received %d numbers, the last is %d: %v\n", received, last, stream.Err())
	// Output: received 1000 numbers, the last is 1000: stream closed
}
