package dynamictest_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/fstest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// greeterSource declares the service of the tests and examples.
const greeterSource = `
	syntax = "proto3";
	package greeting;
	import "options.proto";
	import "google/protobuf/wrappers.proto";
	service Greeter {
	  rpc Hello(google.protobuf.StringValue) returns (google.protobuf.StringValue);
	  rpc Everyone(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
	    option (psrpc.options).type = MULTI;
	  }
	  rpc Local(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
	    option (psrpc.options) = { topics: true topic_params: { names: "city" } };
	  }
	  rpc Chat(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
	    option (psrpc.options).stream = true;
	  }
	  rpc News(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
	    option (psrpc.options) = { subscription: true type: MULTI };
	  }
	}`

// text is the type of all messages.
type text = *wrapperspb.StringValue

// greeter returns the service. Programs usually get it from generated code.
func greeter() *registry.Service {
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"greeter.proto": {Data: []byte(greeterSource)}}, "greeter.proto"); err != nil {
		panic(err)
	}
	service, err := reg.FindService("greeting.Greeter")
	if err != nil {
		panic(err)
	}
	return service
}

// hello is the handler that the examples test.
func hello(_ context.Context, name text) (text, error) {
	return wrapperspb.String("Hello, " + name.GetValue()), nil
}

// greeterClient has a field for each method of the service.
type greeterClient struct {
	Hello         dynamic.UnaryFunc[text, text]
	Everyone      dynamic.MultiFunc[text, text]
	Local         dynamic.TopicUnaryFunc[string, text, text]
	Chat          dynamic.StreamFunc[text, text]
	SubscribeNews dynamic.SubscribeFunc[text]
}

// fakeT stands for the testing.T of a test. It records failures instead of ending the test.
type fakeT struct {
	testing.TB

	cleanups []func()
	failures []string
}

func (t *fakeT) Helper()                  {}
func (t *fakeT) Context() context.Context { return context.Background() }
func (t *fakeT) Log(...any)               {}
func (t *fakeT) Cleanup(f func())         { t.cleanups = append(t.cleanups, f) }

func (t *fakeT) Errorf(format string, args ...any) {
	t.failures = append(t.failures, fmt.Sprintf(format, args...))
}

// Fatalf panics with the value t. runTest recovers this panic.
func (t *fakeT) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	panic(t)
}

// runTest runs a test like package testing and returns its failures.
func runTest(test func(t testing.TB)) (failures []string) {
	t := &fakeT{}
	defer func() {
		if failure := recover(); failure != nil && failure != any(t) {
			panic(failure)
		}
		for _, cleanup := range slices.Backward(t.cleanups) {
			cleanup()
		}
		failures = t.failures
	}()
	test(t)
	return nil
}
