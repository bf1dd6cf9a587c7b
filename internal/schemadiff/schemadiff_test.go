package schemadiff_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/schemadiff"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// shop returns the service shop.Orders. order is the body of the message shop.Order, and methods
// contains the methods of the service besides Get.
func shop(t *testing.T, order, methods string) *registry.Service {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"shop.proto": {Data: []byte(`syntax = "proto3"; package shop; import "options.proto";
message Item { string name = 1; }
message Order {` + order + `}
service Orders { rpc Get(Order) returns (Order);` + methods + `}
`)}}, "shop.proto"))
	service, err := reg.FindService("shop.Orders")
	require.NoError(t, err)
	return service
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		older, newer               string
		olderMethods, newerMethods string
		want                       string
		breaking                   bool
	}{
		"same":             {older: `int64 id = 1; Order parent = 2;`, newer: `int64 id = 1; Order parent = 2;`},
		"order of fields":  {older: `int64 id = 1; Item a = 2;`, newer: `Item a = 2; int64 id = 1;`},
		"added":            {older: ``, newer: `int64 id = 1;`, want: "shop.Order.id was added in the new version"},
		"removed":          {older: `int64 id = 1;`, want: "shop.Order.id was removed in the new version, which does not reserve its number 1", breaking: true},
		"removed properly": {older: `int64 id = 1;`, newer: `reserved 1;`, want: "shop.Order.id was removed in the new version, which reserves its number"},
		"renumbered": {older: `int64 id = 1;`, newer: `int64 id = 2;`,
			want: "shop.Order.id has number 1 in the old version and 2 in the new one", breaking: true},
		"retyped": {older: `int64 id = 1;`, newer: `string id = 1;`,
			want: "shop.Order.id is int64 in the old version and string in the new one", breaking: true},
		"repeated": {older: `Item item = 1;`, newer: `repeated Item item = 1;`,
			want: "shop.Order.item is shop.Item in the old version and repeated shop.Item in the new one", breaking: true},
		"map": {older: `map<string, Item> items = 1;`, newer: `map<string, string> items = 1;`,
			want: "shop.Order.items is map<string, shop.Item> in the old version and map<string, string> in the new one", breaking: true},
		"renamed": {older: `int64 id = 1;`, newer: `int64 number = 1;`,
			want: "shop.Order.id is named number in the new version, so that JSON differs"},
		"nested": {older: `message Part { int64 id = 1; } map<string, Part> parts = 1;`,
			newer: `message Part { bool id = 1; } map<string, Part> parts = 1;`,
			want:  "shop.Order.Part.id is int64 in the old version and bool in the new one", breaking: true},
		"enum value removed": {older: `enum Size { S = 0; M = 1; } Size size = 1;`, newer: `enum Size { S = 0; } Size size = 1;`,
			want: "shop.Order.M was removed in the new version, which does not reserve its number 1", breaking: true},
		"enum value removed properly": {older: `enum Size { S = 0; M = 1; } Size size = 1;`,
			newer: `enum Size { reserved 1; S = 0; } Size size = 1;`,
			want:  "shop.Order.M was removed in the new version, which reserves its number"},
		"enum value renumbered": {older: `enum Size { S = 0; M = 1; } Size size = 1;`, newer: `enum Size { S = 0; M = 2; } Size size = 1;`,
			want: "shop.Order.M has number 1 in the old version and 2 in the new one", breaking: true},
		"enum value renamed": {older: `enum Size { S = 0; M = 1; } Size size = 1;`, newer: `enum Size { S = 0; L = 1; } Size size = 1;`,
			want: "shop.Order.M is named L in the new version, so that JSON differs"},
		"enum value added": {older: `enum Size { S = 0; } Size size = 1;`, newer: `enum Size { S = 0; M = 1; } Size size = 1;`,
			want: "shop.Order.M was added in the new version"},
		"method added":   {newerMethods: `rpc Pay(Order) returns (Item);`, want: "shop.Orders.Pay was added in the new version"},
		"method removed": {olderMethods: `rpc Pay(Order) returns (Item);`, want: "shop.Orders.Pay was removed in the new version", breaking: true},
		"response changed": {olderMethods: `rpc Pay(Order) returns (Item);`, newerMethods: `rpc Pay(Order) returns (Order);`,
			want: "shop.Orders.Pay has the response shop.Item in the old version and shop.Order in the new one", breaking: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			differences := schemadiff.Compare(
				shop(t, test.older, test.olderMethods).Descriptor(), shop(t, test.newer, test.newerMethods).Descriptor())
			if test.want == "" {
				assert.Empty(t, differences)
				return
			}
			require.Len(t, differences, 1)
			assert.Equal(t, test.want, differences[0].String())
			assert.Equal(t, test.breaking, differences[0].Breaking)
		})
	}
}
