package validation_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing/fstest"

	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/validation"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const source = `
	syntax = "proto3";
	package example;
	import "buf/validate/validate.proto";
	service Door {
	  rpc Open(Visitor) returns (Visitor);
	}
	message Visitor {
	  string name = 1 [(buf.validate.field).required = true];
	  string email = 2 [(buf.validate.field).string.email = true];
	}`

// The service has no generated code. Its requests are validated by the rules in its .proto source.
func Example() {
	b, reg := bus.NewLocal(), registry.New()
	defer b.Close()
	check(reg.ParseProto(fstest.MapFS{"door.proto": {Data: []byte(source)}}, "door.proto"))
	door, _ := reg.Service("example.Door")
	server := dynamic.NewServer(b, validation.New())
	defer server.Kill()
	_, err := server.Register(door, dynamic.Handlers{
		"Open": dynamic.Unary(func(_ context.Context, visitor *dynamicpb.Message) (*dynamicpb.Message, error) {
			return visitor, nil
		}),
	})
	check(err)
	conn, err := dynamic.NewConn(b, reg)
	check(err)
	defer conn.Close()

	_, err = dynamic.Invoke(context.Background(), conn, "example.Door/Open", json.RawMessage(`{"name": "Ada", "email": "ada@example.org"}`))
	fmt.Println(err)
	_, err = dynamic.Invoke(context.Background(), conn, "example.Door/Open", json.RawMessage(`{"email": "nowhere"}`))
	coded, _ := errors.AsType[errors.Error](err)
	fmt.Println(coded.Code())
	fmt.Println(coded)
	// Output:
	// <nil>
	// invalid_argument
	// request of example.Door/Open is not valid: name: value is required; email: must be a valid email address
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
