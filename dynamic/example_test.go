package dynamic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing/fstest"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// shouting returns a registry that contains the service of the examples.
func shouting() *registry.Registry {
	const source = `
		syntax = "proto3";
		package example;
		import "google/protobuf/wrappers.proto";
		service Shouting {
		  rpc Shout(google.protobuf.StringValue) returns (google.protobuf.StringValue);
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"shouting.proto": {Data: []byte(source)}}, "shouting.proto"); err != nil {
		panic(err)
	}
	return reg
}

func shoutingDescriptor(reg *registry.Registry) protoreflect.ServiceDescriptor {
	service, _ := reg.Service("example.Shouting")
	return service.Descriptor()
}

func shout(_ context.Context, request *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	if request.GetValue() == "" {
		return nil, errors.NewErrorf(errors.InvalidArgument, "nothing to shout")
	}
	return wrapperspb.String(strings.ToUpper(request.GetValue())), nil
}

// startShouting serves the service on a bus. It returns a conn, and a function that closes both.
func startShouting() (*dynamic.Conn, func()) {
	b, reg := bus.NewLocal(), shouting()
	server := dynamic.NewServer(b)
	if _, err := server.Register(shoutingDescriptor(reg), dynamic.Handlers{"Shout": dynamic.Unary(shout)}); err != nil {
		panic(err)
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		panic(err)
	}
	return conn, func() {
		conn.Close()
		server.Shutdown(context.Background())
		b.Close()
	}
}

// Register takes a service descriptor and a map of handlers. It returns an error if a handler does
// not fit its method.
func ExampleServer_Register() {
	b := bus.NewLocal()
	defer b.Close()
	// The descriptor can also come from a descriptor set or from generated code.
	descriptor := shoutingDescriptor(shouting())

	server := dynamic.NewServer(b)
	registration, err := server.Register(descriptor, dynamic.Handlers{"Shout": dynamic.Unary(shout)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("serving", registration.Service())

	_, err = dynamic.NewServer(b).Register(descriptor, dynamic.Handlers{"Whisper": dynamic.Unary(shout)})
	fmt.Println(err)

	fmt.Println("shut down:", server.Shutdown(context.Background()))
	// Output:
	// serving example.Shouting
	// service example.Shouting, method Whisper: there is a handler, but no such method
	// service example.Shouting, method Shout: there is no handler; dynamic.AllowMissing() lets it answer unimplemented
	// shut down: <nil>
}

// A new version of a service can replace the old one while clients call the service. No call
// fails.
func ExampleRegistration_Replace() {
	b, reg := bus.NewLocal(), shouting()
	defer b.Close()
	server := dynamic.NewServer(b)
	defer server.Shutdown(context.Background())
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	call := func() {
		response, err := dynamic.Invoke(context.Background(), conn, "example.Shouting/Shout", wrapperspb.String("hello"))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(response.(*wrapperspb.StringValue).GetValue())
	}

	old, err := server.Register(shoutingDescriptor(reg), dynamic.Handlers{"Shout": dynamic.Unary(shout)})
	if err != nil {
		fmt.Println(err)
		return
	}
	call()

	louder := func(ctx context.Context, request *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
		return shout(ctx, wrapperspb.String(request.GetValue()+"!"))
	}
	_, err = old.Replace(shoutingDescriptor(reg), dynamic.Handlers{"Shout": dynamic.Unary(louder)})
	if err != nil { // the old version continues
		fmt.Println(err)
		return
	}
	call()
	fmt.Println("the old version has finished:", old.Close(context.Background()))
	call()
	// Output:
	// HELLO
	// HELLO!
	// the old version has finished: <nil>
	// HELLO!
}

// A client calls one method with typed messages. Its errors have the code and the text that the
// handler has set.
func ExampleClient_Call() {
	conn, stop := startShouting()
	defer stop()

	client, err := dynamic.NewClient[*wrapperspb.StringValue, *wrapperspb.StringValue](conn, "example.Shouting/Shout")
	if err != nil {
		fmt.Println(err)
		return
	}
	response, err := client.Call(context.Background(), wrapperspb.String("hello"))
	fmt.Println(response.GetValue(), err)

	_, err = client.Call(context.Background(), wrapperspb.String(""))
	if coded, ok := errors.AsType[errors.Error](err); ok {
		fmt.Println(coded.Code(), "-", coded)
	}
	// Output:
	// HELLO <nil>
	// invalid_argument - nothing to shout
}

// Invoke calls a method that is known by name only, here with JSON.
func ExampleInvoke() {
	conn, stop := startShouting()
	defer stop()

	response, err := dynamic.Invoke(context.Background(), conn, "example.Shouting/Shout", json.RawMessage(`"hello"`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.(*wrapperspb.StringValue).GetValue())
	// Output: HELLO
}

// A raw handler receives encoded messages, so it fits any method. This one sends back each
// request.
func ExampleRaw() {
	b, reg := bus.NewLocal(), shouting()
	defer b.Close()
	server := dynamic.NewServer(b)
	defer server.Kill()
	_, err := server.Register(shoutingDescriptor(reg), dynamic.Handlers{
		"Shout": dynamic.Raw(func(_ context.Context, method *registry.Method, request []byte) ([]byte, error) {
			fmt.Printf("%s: %d bytes\n", method.FullName(), len(request))
			return request, nil
		}),
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
	response, err := dynamic.Invoke(context.Background(), conn, "example.Shouting/Shout", wrapperspb.String("hello"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.(*wrapperspb.StringValue).GetValue())
	// Output:
	// example.Shouting/Shout: 7 bytes
	// hello
}
