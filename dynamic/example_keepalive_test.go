package dynamic_test

import (
	"context"
	"fmt"
	"testing/fstest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// With keepalive, a stream ends when its other side has vanished. Here the network
// between client and server is cut. The server receives nothing for three intervals and closes the
// stream.
func ExampleWithKeepalive() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/wrappers.proto";
		service Sessions {
		  rpc Session(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
		    option (psrpc.options).stream = true;
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"sessions.proto": {Data: []byte(source)}}, "sessions.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Sessions")
	local := bus.NewLocal()
	defer local.Close()
	network := bustest.NewFaultBus(local, 1, bustest.Faults{}) // the network between the client and the server

	ended := make(chan error, 1)
	session := func(stream dynamic.ServerStream[*wrapperspb.StringValue, *wrapperspb.StringValue]) error {
		<-stream.Context().Done() // wait until the stream is closed
		ended <- stream.Err()
		return nil
	}
	server := dynamic.NewServer(local) // the shorter keepalive interval of the two sides counts
	defer server.Kill()
	if _, err := server.Register(service, dynamic.Handlers{"Session": dynamic.Stream(session)}); err != nil {
		fmt.Println(err)
		return
	}
	conn, err := dynamic.NewConn(network, reg, dynamic.WithKeepalive(50*time.Millisecond))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	stream, err := dynamic.InvokeStream(context.Background(), conn, "example.Sessions/Session")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stream.Close(nil)

	network.Cut()
	cause := <-ended
	fmt.Println(cause)
	fmt.Println(errors.Is(cause, dynamic.ErrKeepaliveTimeout))
	// Output:
	// stream peer vanished
	// true
}
