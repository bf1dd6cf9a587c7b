package errors_test

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

// The error of a failed call has a code, which a program can check, and facts, which explain the
// failure. This call fails immediately, because no server serves the method.
func ExampleFactsOf() {
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
	b := bus.NewLocal()
	defer b.Close()
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	_, err = dynamic.Invoke(context.Background(), conn, "example.Greeter/Greet", wrapperspb.String("Ada"))
	if coded, ok := errors.AsType[errors.Error](err); ok {
		fmt.Println("code:", coded.Code())
	}
	if facts, ok := errors.FactsOf(err); ok {
		fmt.Println("method:", facts.Method)
		fmt.Println("reason:", facts.Reason)
		fmt.Println("claims:", facts.Claims)
	}
	fmt.Println("no response:", errors.Is(err, errors.ErrNoResponse))
	// Output:
	// code: unavailable
	// method: example.Greeter/Greet
	// reason: nobody listening
	// claims: 0
	// no response: true
}
