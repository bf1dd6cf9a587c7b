package fleet_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const greeterSource = `
	syntax = "proto3";
	package greeting;
	message Text { string text = 1; }
	service Greeter { rpc Hello(Text) returns (Text); }`

// serveGreeter starts a server that serves greeting.Greeter and answers queries of a Fleet.
func serveGreeter(b bus.Bus) (*dynamic.Server, error) {
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"greeter.proto": {Data: []byte(greeterSource)}}, "greeter.proto"); err != nil {
		return nil, err
	}
	service, err := reg.FindService("greeting.Greeter")
	if err != nil {
		return nil, err
	}
	server := dynamic.NewServer(b, dynamic.WithServerID("SRV_greeter"))
	hello := dynamic.Unary(func(_ context.Context, text proto.Message) (proto.Message, error) { return text, nil })
	if _, err = server.Register(service.Descriptor(), dynamic.Handlers{"Hello": hello}); err != nil {
		return nil, err
	}
	_, err = fleet.Serve(server, fleet.WithApp("greeter", "1.0"))
	return server, err
}

// ExampleFleet_Servers lists all servers of a bus with their services.
func ExampleFleet_Servers() {
	b := bus.NewLocal()
	server, err := serveGreeter(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Kill()
	conn, err := dynamic.NewConn(b, registry.New())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	f, err := fleet.New(conn)
	if err != nil {
		fmt.Println(err)
		return
	}
	for s, err := range f.Servers(context.Background(), fleet.Parts(fleet.PartServices)) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(s.ID, s.App, s.AppVersion, s.State, s.Services[0].Name, s.Services[0].Methods[0].Kind)
	}
	// Output: SRV_greeter greeter 1.0 serving greeting.Greeter single
}

// ExampleFleet_Registry calls a method without knowing its schema. The descriptors come from a
// server.
func ExampleFleet_Registry() {
	b := bus.NewLocal()
	server, err := serveGreeter(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Kill()
	asking, err := dynamic.NewConn(b, registry.New())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer asking.Close()
	f, err := fleet.New(asking)
	if err != nil {
		fmt.Println(err)
		return
	}
	reg, err := f.Registry(context.Background(), "greeting.Greeter")
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
	response, err := dynamic.Invoke(context.Background(), conn, "greeting.Greeter/Hello", map[string]any{"text": "Hello"})
	if err != nil {
		fmt.Println(err)
		return
	}
	text := response.ProtoReflect()
	fmt.Println(text.Get(text.Descriptor().Fields().ByName("text")))
	// Output: Hello
}
