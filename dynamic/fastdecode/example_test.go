package fastdecode_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fastdecode"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// This handler reads its request through the descriptor and does not change it.
func ExampleRequests() {
	reg := registry.New()
	err := reg.ParseProto(fstest.MapFS{"orders.proto": {Data: []byte(`
		syntax = "proto3";
		package shop;
		import "google/protobuf/wrappers.proto";
		message Order { repeated Item items = 1; }
		message Item { string name = 1; int64 price = 2; }
		service Orders { rpc Total(Order) returns (google.protobuf.Int64Value); }`)}}, "orders.proto")
	if err != nil {
		fmt.Println(err)
		return
	}
	method, _ := reg.Method("shop.Orders/Total")
	items := method.Input().Fields().ByName("items")
	price := items.Message().Fields().ByName("price")
	total := func(_ context.Context, order proto.Message) (proto.Message, error) {
		var sum int64
		for list, i := order.ProtoReflect().Get(items).List(), 0; i < list.Len(); i++ {
			sum += list.Get(i).Message().Get(price).Int()
		}
		return wrapperspb.Int64(sum), nil
	}

	b := bus.NewLocal()
	defer b.Close()
	server := dynamic.NewServer(b)
	defer server.Kill()
	service := method.Descriptor().Parent().(protoreflect.ServiceDescriptor)
	_, err = server.Register(service, dynamic.Handlers{"Total": dynamic.Unary(total, fastdecode.Requests())})
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
	response, err := dynamic.Invoke(context.Background(), conn, "shop.Orders/Total", map[string]any{
		"items": []any{map[string]any{"name": "tea", "price": 3}, map[string]any{"name": "milk", "price": 2}},
	})
	fmt.Println(response.(*wrapperspb.Int64Value).GetValue(), err)
	// Output: 5 <nil>
}
