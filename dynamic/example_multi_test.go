package dynamic_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// CallMulti sends one request to every server. The channel delivers the responses as they arrive,
// and is closed when all servers have responded.
func ExampleClient_CallMulti() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/empty.proto";
		import "google/protobuf/wrappers.proto";
		service Fleet {
		  rpc CountRooms(google.protobuf.Empty) returns (google.protobuf.Int64Value) {
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

	for _, rooms := range []int64{3, 5, 8} { // start three servers
		count := func(context.Context, *emptypb.Empty) (*wrapperspb.Int64Value, error) {
			return wrapperspb.Int64(rooms), nil
		}
		server := dynamic.NewServer(b)
		defer server.Kill()
		if _, err := server.Register(service, dynamic.Handlers{"CountRooms": dynamic.Unary(count)}); err != nil {
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
	client, err := dynamic.NewClient[*emptypb.Empty, *wrapperspb.Int64Value](conn, "example.Fleet/CountRooms")
	if err != nil {
		fmt.Println(err)
		return
	}

	responses, err := client.CallMulti(context.Background(), &emptypb.Empty{})
	if err != nil { // the request was not sent
		fmt.Println(err)
		return
	}
	var servers int
	var rooms int64
	for response := range responses {
		if response.Err != nil { // the error of one server
			fmt.Println(response.ServerID, response.Err)
			continue
		}
		servers++
		rooms += response.Result.GetValue()
	}
	fmt.Printf("%d servers have %d rooms\n", servers, rooms)
	// Output: 3 servers have 16 rooms
}

// Responses is like CallMulti, but returns an iterator. The request is sent when the loop begins.
// The call ends when the loop ends: in this example, as soon as a server has the room.
func ExampleClient_Responses() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/wrappers.proto";
		service Fleet {
		  rpc FindRoom(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
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

	for id, room := range map[string]string{"server-1": "lobby", "server-2": "studio"} {
		find := func(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			if name.GetValue() != room {
				return nil, errors.NewErrorf(errors.NotFound, "%s has no room %s", id, name.GetValue())
			}
			return wrapperspb.String("open"), nil
		}
		server := dynamic.NewServer(b, dynamic.WithServerID(id))
		defer server.Shutdown(context.Background())
		if _, err := server.Register(service, dynamic.Handlers{"FindRoom": dynamic.Unary(find)}); err != nil {
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
	client, err := dynamic.NewClient[*wrapperspb.StringValue, *wrapperspb.StringValue](conn, "example.Fleet/FindRoom")
	if err != nil {
		fmt.Println(err)
		return
	}

	for response := range client.Responses(context.Background(), wrapperspb.String("studio")) {
		if response.Err == nil {
			fmt.Println(response.ServerID, "has the room, which is", response.Result.GetValue())
			break
		}
	}
	// Output: server-2 has the room, which is open
}
