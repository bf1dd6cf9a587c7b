package main

import (
	"context"
	"testing/fstest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// text is the only message type of the services.
type text = *wrapperspb.StringValue

const (
	// region is the topic that all servers serve.
	region = "eu"
	// fleetSize is the number of servers that most tests start.
	fleetSize = 3
)

// source is a .proto file with two services: Work for calls and streams, and Feeds for updates. On
// NATS, all methods of a service share one queue group. If there were only one service, some
// updates would be delivered to servers instead of consumers.
const source = `
syntax = "proto3";
package chaos;
import "options.proto";
import "google/protobuf/wrappers.proto";
service Work {
  rpc Queue(google.protobuf.StringValue) returns (google.protobuf.StringValue);
  rpc Affinity(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).type = AFFINITY;
  }
  rpc Multi(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).type = MULTI;
  }
  rpc Topic(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).topics = true;
  }
  rpc Stream(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).stream = true;
  }
}
service Feeds {
  rpc One(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).subscription = true;
  }
  rpc All(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options) = { subscription: true type: MULTI };
  }
}
`

func newRegistry() (*registry.Registry, error) {
	reg := registry.New()
	return reg, reg.ParseProto(fstest.MapFS{"chaos.proto": {Data: []byte(source)}}, "chaos.proto")
}

// publish publishes an update to the consumers.
func publish(ctx context.Context, conn *dynamic.Conn, feed, id string) error {
	return dynamic.Publish(ctx, conn, "chaos.Feeds/"+feed, wrapperspb.String(id))
}
