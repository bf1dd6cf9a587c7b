package tapfilter_test

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet/tapfilter"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const source = `
syntax = "proto3";
package shop;
enum Kind { SMALL = 0; LARGE = 1; }
message Item { string name = 1; uint32 count = 2; Item part = 3; }
message Order {
  int64 id = 1;
  repeated Item items = 2;
  map<int32, Item> by_number = 3;
  Kind kind = 4;
  double price = 5;
  bytes key = 6;
  bool paid = 7;
  Item first = 8;
  repeated string tags = 9;
}
service Orders { rpc Get(Order) returns (Order); }
`

func order(t *testing.T) *dynamicpb.Message {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"shop.proto": {Data: []byte(source)}}, "shop.proto"))
	service, err := reg.FindService("shop.Orders")
	require.NoError(t, err)
	method, _ := service.Method("Get")
	message := dynamicpb.NewMessage(method.Input())
	require.NoError(t, protojson.Unmarshal([]byte(`{"id":7,"items":[{"name":"nail","count":3}],"byNumber":{"5":{"name":"bolt"}},
		"kind":"LARGE","price":2.5,"key":"a2V5","paid":true,"first":{"name":"nail"},"tags":["a","b"]}`), message))
	return message
}

func TestCompile(t *testing.T) {
	t.Parallel()
	event := &fleet.TapEvent{
		At: time.Unix(1_000_000_000, 0), Kind: fleet.TapError, Method: "Orders/Get", Topic: []string{"eu", "7"},
		ClientID: "CLI_9a", RequestID: "REQ_1", Duration: 88 * time.Millisecond, Code: errors.DeadlineExceeded, Affinity: 0.5,
		Metadata: map[string]string{"traceparent": "00-1"},
	}
	message := order(t)
	for expression, want := range map[string]bool{
		`duration > duration("50ms")`:                                            true,
		`duration > duration("50ms") && code == ""`:                              false,
		`code == "deadline_exceeded" && kind == "error"`:                         true,
		`at < timestamp("2001-09-09T01:46:41Z")`:                                 true,
		`method.endsWith("/Get") && topic[1] == "7" && topic.size() == 2`:        true,
		`client_id.startsWith("CLI_") && request_id != ""`:                       true,
		`affinity >= 0.5 && metadata["traceparent"] == "00-1"`:                   true,
		`metadata["user"] == "Ada"`:                                              false, // there is no such key
		`message.id == 7 && message.price > 2 && message.paid`:                   true,
		`message.items.exists(i, i.name == "nail" && i.count > 2)`:               true,
		`message.by_number[5].name == "bolt" && message.by_number[5].count == 0`: true,
		`message.kind == 1 && message.key == b"key" && "b" in message.tags`:      true,
		`message.first.name == "nail" && message.first.part == null`:             true,
		`message.nothing == 1`:                                                   false, // there is no such field
		`message`:                                                                false, // not a bool
		`[1,2,3,4,5,6,7,8,9].map(a, [1,2,3,4,5,6,7,8,9].map(b, [1,2,3,4,5,6,7,8,9].map(c, [1,2,3,4,5,6,7,8,9].map(d,
			[1,2,3,4,5,6,7,8,9].map(e, [1,2,3,4,5,6,7,8,9].map(f, a+b+c+d+e+f)))))).size() > 0`: false, // too expensive
	} {
		filter, err := tapfilter.Compile(expression)
		require.NoError(t, err, expression)
		assert.Equal(t, want, filter(event, message), expression)
	}
	filter, err := tapfilter.Compile(`message.id == 7`)
	require.NoError(t, err)
	assert.False(t, filter(event, nil), "an event without a message")
	filter, err = tapfilter.Compile(`message == null && metadata.size() == 0 && topic.size() == 0`)
	require.NoError(t, err)
	assert.True(t, filter(&fleet.TapEvent{}, nil))
}

func TestCompile_Invalid(t *testing.T) {
	t.Parallel()
	for _, expression := range []string{
		"", "1 + ", "nothing", "duration", `code > 5`, "true" + strings.Repeat(" ", 5000),
		`method.matches("a")`, `topic.exists(t, !matches(t, "a"))`, // one evaluation could take minutes
	} {
		_, err := tapfilter.Compile(expression)
		coded, ok := errors.AsType[errors.Error](err)
		require.True(t, ok, "%q: %v", expression, err)
		assert.Equal(t, errors.InvalidArgument, coded.Code(), expression)
		t.Log(err)
	}
}
