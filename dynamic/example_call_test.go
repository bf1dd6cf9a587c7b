package dynamic_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Metadata is a set of key-value pairs that is sent with a request, such as a language or a user
// ID. ContextWithMetadata sets it for every call with the context, and WithMetadata for one call.
// The handler reads it with RequestInfoFromContext.
func ExampleContextWithMetadata() {
	const source = `
		syntax = "proto3";
		package example;
		import "google/protobuf/wrappers.proto";
		service Greeter {
		  rpc Greet(google.protobuf.StringValue) returns (google.protobuf.StringValue);
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"greeter.proto": {Data: []byte(source)}}, "greeter.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Greeter")
	b := bus.NewLocal()
	defer b.Close()

	greet := func(ctx context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
		greeting := "Hello, "
		if info, ok := dynamic.RequestInfoFromContext(ctx); ok && info.Metadata["language"] == "de" {
			greeting = "Hallo, "
		}
		return wrapperspb.String(greeting + name.GetValue()), nil
	}
	server := dynamic.NewServer(b)
	defer server.Kill()
	if _, err := server.Register(service, dynamic.Handlers{"Greet": dynamic.Unary(greet)}); err != nil {
		fmt.Println(err)
		return
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	client, err := dynamic.NewClient[*wrapperspb.StringValue, *wrapperspb.StringValue](conn, "example.Greeter/Greet")
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx := dynamic.ContextWithMetadata(context.Background(), map[string]string{"language": "de"})
	response, err := client.Call(ctx, wrapperspb.String("Ada"))
	fmt.Println(response.GetValue(), err)
	// WithMetadata overrides the context's value for the same key.
	response, err = client.Call(ctx, wrapperspb.String("Ada"), dynamic.WithMetadata(map[string]string{"language": "en"}))
	fmt.Println(response.GetValue(), err)
	// Output:
	// Hallo, Ada <nil>
	// Hello, Ada <nil>
}

// Hooks observe the calls of a conn, for example for a log. They see the requests and responses of
// the caller and must not change them. Interceptors can do more: they change messages, contexts
// and errors, and retry or refuse calls. See WithClientRPCInterceptors.
func ExampleWithRequestHooks() {
	const source = `
		syntax = "proto3";
		package example;
		import "google/protobuf/wrappers.proto";
		service Greeter {
		  rpc Greet(google.protobuf.StringValue) returns (google.protobuf.StringValue);
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"greeter.proto": {Data: []byte(source)}}, "greeter.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Greeter")
	b := bus.NewLocal()
	defer b.Close()
	greet := func(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
		return wrapperspb.String("Hello, " + name.GetValue()), nil
	}
	server := dynamic.NewServer(b)
	defer server.Kill()
	if _, err := server.Register(service, dynamic.Handlers{"Greet": dynamic.Unary(greet)}); err != nil {
		fmt.Println(err)
		return
	}

	logRequest := func(_ context.Context, request proto.Message, info dynamic.RPCInfo) {
		fmt.Printf("%s: request of %d bytes\n", info.Method, proto.Size(request))
	}
	logResponse := func(_ context.Context, _ proto.Message, info dynamic.RPCInfo, response proto.Message, err error) {
		fmt.Printf("%s: response of %d bytes, error %v\n", info.Method, proto.Size(response), err)
	}
	conn, err := dynamic.NewConn(b, reg, dynamic.WithRequestHooks(logRequest), dynamic.WithResponseHooks(logResponse))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	response, err := dynamic.Invoke(context.Background(), conn, "example.Greeter/Greet", wrapperspb.String("Ada"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.(*wrapperspb.StringValue).GetValue())
	// Output:
	// Greet: request of 5 bytes
	// Greet: response of 12 bytes, error <nil>
	// Hello, Ada
}
