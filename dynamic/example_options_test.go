package dynamic_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"testing/fstest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// A handler of request events sees requests that never reach an interceptor. Here, the server
// receives a request and handles it without waiting for the client to select a server.
func ExampleWithRequestEvents() {
	b, reg := bus.NewLocal(), shouting()
	defer b.Close()
	server := dynamic.NewServer(b, dynamic.WithRequestEvents(func(event dynamic.RequestEvent) {
		switch event.Kind {
		case dynamic.RequestReceived:
			fmt.Println(event.Info.Method, "received from", event.Peer)
		case dynamic.RequestExpired:
			fmt.Println(event.Info.Method, "too late by", event.Late)
		case dynamic.ClaimDecided:
			fmt.Println(event.Info.Method, "claim:", event.Outcome)
		}
	}))
	defer server.Kill()
	if _, err := server.Register(shoutingDescriptor(reg), dynamic.Handlers{"Shout": dynamic.Unary(shout)}); err != nil {
		fmt.Println(err)
		return
	}
	conn, err := dynamic.NewConn(b, reg, dynamic.WithClientID("CLI_example"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	if _, err := dynamic.Invoke(context.Background(), conn, "example.Shouting/Shout", wrapperspb.String("hi")); err != nil {
		fmt.Println(err)
	}
	// Output:
	// Shout received from CLI_example
	// Shout claim: skipped
}

// The options for servers and conns can be kept together. Here, both compress messages of 256 bytes
// or more. All peers must use dynpsrpc, or psrpc v0.7.6 or later.
func ExampleOptions() {
	common := dynamic.Options(
		dynamic.WithCompression(gzip.BestSpeed),
		dynamic.WithCompressionThreshold(256),
		dynamic.WithMaxFrameSize(1<<20),
	)
	b, reg := bus.NewLocal(), shouting()
	defer b.Close()
	server := dynamic.NewServer(b, common)
	defer server.Kill()
	conn, err := dynamic.NewConn(b, reg, common)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	// Output:
}

// RegisterTopics registers all topics of a list or none of them.
func ExampleRegisterTopics() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/wrappers.proto";
		service Rooms {
		  rpc Join(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).topics = true; }
		  rpc Leave(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).topics = true; }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"rooms.proto": {Data: []byte(source)}}, "rooms.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Rooms")
	b := bus.NewLocal()
	defer b.Close()
	server := dynamic.NewServer(b)
	defer server.Kill()
	rooms, err := server.Register(service, dynamic.Handlers{"Join": dynamic.Unary(shout), "Leave": dynamic.Unary(shout)})
	if err != nil {
		fmt.Println(err)
		return
	}
	room := []string{"room1"}
	list := []dynamic.TopicRegistration{
		{Registration: rooms, Method: "Join", Topic: room},
		{Registration: rooms, Method: "Leave", Topic: room},
	}
	fmt.Println(dynamic.RegisterTopics(list...))
	fmt.Println(dynamic.DeregisterTopics(list...))
	// Output:
	// <nil>
	// <nil>
}
