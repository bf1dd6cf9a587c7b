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

// An affinity function rates how well a server suits a request, here by its region. For a method
// with AFFINITY routing the client selects the server with the highest affinity. WithPeer reports
// which server that was.
func ExampleWithAffinity() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/wrappers.proto";
		service Rooms {
		  rpc Create(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
		    option (psrpc.options).type = AFFINITY;
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"rooms.proto": {Data: []byte(source)}}, "rooms.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Rooms")
	b := bus.NewLocal()
	defer b.Close()

	for _, region := range []string{"asia", "europe"} { // start one server in each region
		create := func(_ context.Context, wanted *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			return wrapperspb.String("a room for " + wanted.GetValue() + " in " + region), nil
		}
		affinity := func(_ context.Context, wanted *wrapperspb.StringValue) float32 {
			switch wanted.GetValue() {
			case region:
				return 1
			case "antarctica":
				return -1 // this server does not claim the request
			default:
				return 0.25
			}
		}
		server := dynamic.NewServer(b, dynamic.WithServerID("server-"+region))
		defer server.Kill()
		_, err := server.Register(service, dynamic.Handlers{
			"Create": dynamic.Unary(create, dynamic.WithAffinity(affinity)),
		})
		if err != nil {
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
	client, err := dynamic.NewClient[*wrapperspb.StringValue, *wrapperspb.StringValue](conn, "example.Rooms/Create")
	if err != nil {
		fmt.Println(err)
		return
	}

	var peer string
	response, err := client.Call(context.Background(), wrapperspb.String("europe"), dynamic.WithPeer(&peer))
	fmt.Println(response.GetValue(), err)
	fmt.Println("selected:", peer)

	_, err = client.Call(context.Background(), wrapperspb.String("antarctica"),
		dynamic.WithSelectionOpts(dynamic.SelectionOpts{AffinityTimeout: 10 * time.Millisecond}))
	fmt.Println("no server claimed the request:", errors.Is(err, errors.ErrNoResponse))
	// Output:
	// a room for europe in europe <nil>
	// selected: server-europe
	// no server claimed the request: true
}

// SelectionOpts changes how the client selects a server for one call. MaximumAffinity ends the
// selection as soon as a server claims with at least that affinity. SelectionFunc replaces the
// whole selection rule.
func ExampleWithSelectionOpts() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/wrappers.proto";
		service Rooms {
		  rpc Create(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
		    option (psrpc.options).type = AFFINITY;
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"rooms.proto": {Data: []byte(source)}}, "rooms.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Rooms")
	b := bus.NewLocal()
	defer b.Close()

	for id, free := range map[string]float32{"busy": 0.25, "idle": 0.75} {
		create := func(context.Context, *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			return wrapperspb.String("created by the " + id + " server"), nil
		}
		affinity := func(context.Context, *wrapperspb.StringValue) float32 { return free }
		server := dynamic.NewServer(b, dynamic.WithServerID(id))
		defer server.Kill()
		_, err := server.Register(service, dynamic.Handlers{
			"Create": dynamic.Unary(create, dynamic.WithAffinity(affinity)),
		})
		if err != nil {
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
	client, err := dynamic.NewClient[*wrapperspb.StringValue, *wrapperspb.StringValue](conn, "example.Rooms/Create")
	if err != nil {
		fmt.Println(err)
		return
	}

	response, err := client.Call(context.Background(), wrapperspb.String("lobby"),
		dynamic.WithSelectionOpts(dynamic.SelectionOpts{MaximumAffinity: 0.75}))
	fmt.Println(response.GetValue(), err)

	// This rule prefers the busiest server, to keep the others free.
	busiest := func(claims []*dynamic.Claim) (string, error) {
		if len(claims) == 0 {
			return "", errors.ErrNoResponse
		}
		selected := claims[0]
		for _, claim := range claims {
			if claim.Affinity < selected.Affinity {
				selected = claim
			}
		}
		return selected.ServerID, nil
	}
	response, err = client.Call(context.Background(), wrapperspb.String("lobby"),
		dynamic.WithSelectionOpts(dynamic.SelectionOpts{
			AffinityTimeout: 500 * time.Millisecond, // how long to collect claims
			SelectionFunc:   busiest,
		}))
	fmt.Println(response.GetValue(), err)
	// Output:
	// created by the idle server <nil>
	// created by the busy server <nil>
}
