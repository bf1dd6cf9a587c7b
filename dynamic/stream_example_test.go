package dynamic_test

import (
	"context"
	"fmt"
	"testing/fstest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// A stream carries messages both ways until one side closes it. The other side sees why.
func ExampleStream() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/wrappers.proto";
		service Doubling {
		  rpc Double(google.protobuf.Int32Value) returns (google.protobuf.Int32Value) {
		    option (psrpc.options).stream = true;
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"doubling.proto": {Data: []byte(source)}}, "doubling.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Doubling")

	type number = *wrapperspb.Int32Value
	double := func(stream dynamic.ServerStream[number, number]) error {
		for message := range stream.Channel() {
			if message.GetValue() < 0 {
				return errors.NewErrorf(errors.OutOfRange, "only upwards")
			}
			if err := stream.Send(wrapperspb.Int32(2 * message.GetValue())); err != nil {
				return err
			}
		}
		return nil
	}
	b := bus.NewLocal()
	defer b.Close()
	server := dynamic.NewServer(b)
	defer server.Kill()
	if _, err := server.Register(service.Descriptor(), dynamic.Handlers{"Double": dynamic.Stream(double)}); err != nil {
		fmt.Println(err)
		return
	}

	conn, err := dynamic.NewConn(b, reg, dynamic.WithSelectionTimeout(time.Minute), dynamic.WithClientTimeout(time.Minute))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	client, err := dynamic.NewClient[number, number](conn, "example.Doubling/Double")
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
	for _, value := range []int32{1, 2, -3} {
		if err := stream.Send(wrapperspb.Int32(value)); err != nil {
			fmt.Println(err)
		}
	}
	for message := range stream.Channel() { // ends when the stream is closed
		fmt.Println(message.GetValue())
	}
	fmt.Println(stream.Err())
	// Output:
	// 2
	// 4
	// only upwards
}

// With a window, Send does not wait for each acknowledgement. Flush waits for all of them.
func ExampleWithStreamWindow() {
	conn, stop := startCounting()
	defer stop()
	client, err := dynamic.NewClient[*wrapperspb.StringValue, *wrapperspb.Int64Value](conn, "example.Counting/Count")
	if err != nil {
		fmt.Println(err)
		return
	}
	stream, err := client.OpenStream(context.Background(), dynamic.WithStreamWindow(64))
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 1000 {
		if err := stream.Send(wrapperspb.String("one")); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(stream.Flush(context.Background()))
	if err := stream.Send(wrapperspb.String("how many?")); err != nil {
		fmt.Println(err)
	}
	fmt.Println((<-stream.Channel()).GetValue())
	// Output:
	// <nil>
	// 1000
}

// startCounting serves a stream whose handler counts the messages, and sends the number when a
// message asks for it. It returns a conn, and a function that closes both.
func startCounting() (*dynamic.Conn, func()) {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/wrappers.proto";
		service Counting {
		  rpc Count(google.protobuf.StringValue) returns (google.protobuf.Int64Value) {
		    option (psrpc.options).stream = true;
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"counting.proto": {Data: []byte(source)}}, "counting.proto"); err != nil {
		panic(err)
	}
	service, _ := reg.Service("example.Counting")
	count := func(stream dynamic.ServerStream[*wrapperspb.Int64Value, *wrapperspb.StringValue]) error {
		var n int64
		for message := range stream.Channel() {
			if message.GetValue() == "how many?" {
				return stream.Send(wrapperspb.Int64(n))
			}
			n++
		}
		return nil
	}
	b := bus.NewLocal()
	server := dynamic.NewServer(b)
	if _, err := server.Register(service.Descriptor(), dynamic.Handlers{"Count": dynamic.Stream(count)}); err != nil {
		panic(err)
	}
	conn, err := dynamic.NewConn(b, reg, patient...)
	if err != nil {
		panic(err)
	}
	return conn, func() {
		conn.Close()
		server.Shutdown(context.Background())
		b.Close()
	}
}
