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

// Candidates shows which servers would handle a request, and runs no handler.
func ExampleCandidates() {
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
	for server, affinity := range map[string]float32{"server-near": 0.75, "server-far": 0.25, "server-full": -1} {
		create := func(context.Context, *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			fmt.Println("this handler does not run")
			return &wrapperspb.StringValue{}, nil
		}
		rate := dynamic.WithAffinity(func(context.Context, *wrapperspb.StringValue) float32 { return affinity })
		s := dynamic.NewServer(b, dynamic.WithServerID(server))
		defer s.Kill()
		if _, err := s.Register(service, dynamic.Handlers{"Create": dynamic.Unary(create, rate)}); err != nil {
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
	result, err := dynamic.Candidates(context.Background(), conn, "example.Rooms/Create", wrapperspb.String("europe"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, candidate := range result.Candidates {
		fmt.Println(candidate.ServerID, candidate.Affinity, candidate.Declined)
	}
	fmt.Println("a call would select", result.Selected)
	// Unordered output:
	// server-near 0.75 false
	// server-far 0.25 false
	// server-full -1 true
	// a call would select server-near
}
