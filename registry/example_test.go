package registry_test

import (
	"fmt"
	"testing/fstest"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// source stands for a directory of .proto files. Programs use os.DirFS or embed.FS instead.
var source = fstest.MapFS{"my_service.proto": {Data: []byte(`
syntax = "proto3";
package my.pkg;
import "options.proto";

service MyService {
  rpc NormalRPC(MyRequest) returns (MyResponse);
  rpc GetRegionStats(MyRequest) returns (MyResponse) {
    option (psrpc.options) = { topics: true topic_params: { names: "region" } type: MULTI };
  }
}
message MyRequest {}
message MyResponse {}
`)}}

func ExampleRegistry_ParseProto() {
	reg := registry.New()
	if err := reg.ParseProto(source, "my_service.proto"); err != nil {
		fmt.Println(err)
		return
	}
	for _, service := range reg.Services() {
		for _, method := range service.Methods() {
			fmt.Println(method)
		}
	}
	// Output:
	// my.pkg.MyService/NormalRPC (single, queue routing)
	// my.pkg.MyService/GetRegionStats (multi, multi routing, topic region)
}

func ExampleRegistry_Method() {
	reg := registry.New()
	if err := reg.ParseProto(source, "my_service.proto"); err != nil {
		fmt.Println(err)
		return
	}
	method, ok := reg.Method("my.pkg.MyService/GetRegionStats")
	fmt.Println(ok, method.Kind(), method.TopicParams(), method.RequireClaim())
	_, ok = reg.Method("my.pkg.MyService/Gone")
	fmt.Println(ok)
	// Output:
	// true multi [region] false
	// false
}

func ExampleWithWireName() {
	reg := registry.New()
	if err := reg.ParseProto(source, "my_service.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("my.pkg.MyService")
	renamed, err := registry.NewService(service.Descriptor(), registry.WithWireName("my.pkg.MyService"))
	fmt.Println(service.WireName(), renamed.WireName(), err)
	// Output: MyService my.pkg.MyService <nil>
}
