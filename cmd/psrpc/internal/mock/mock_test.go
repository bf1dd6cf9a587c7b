package mock_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"buf.build/go/protovalidate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/mock"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/recording"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const source = `syntax = "proto3";
package shop;
import "options.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/any.proto";
service Orders {
  rpc Get(GetRequest) returns (Order);
  rpc Best(GetRequest) returns (Order) { option (psrpc.options).type = AFFINITY; }
  rpc All(GetRequest) returns (Order) { option (psrpc.options).type = MULTI; }
  rpc In(GetRequest) returns (Order) { option (psrpc.options) = { topics: true topic_params: { names: "region" } }; }
  rpc Flow(GetRequest) returns (Order) { option (psrpc.options).stream = true; }
  rpc News(GetRequest) returns (Order) { option (psrpc.options) = { subscription: true type: MULTI }; }
}
message GetRequest { int64 id = 1; string name = 2; repeated string tags = 3; }
message Order {
  int64 id = 1;
  string name = 2;
  State state = 3;
  repeated string tags = 4;
  map<int32, Order> related = 5;
  google.protobuf.Timestamp created = 6;
  google.protobuf.Duration took = 7;
  google.protobuf.StringValue note = 8;
  google.protobuf.Struct extra = 9;
  google.protobuf.Any any = 10;
  oneof payment { string card = 11; bool cash = 12; }
  optional double total = 13;
  bytes key = 14;
  Order parent = 15;
}
enum State { UNKNOWN = 0; NEW = 1; PAID = 2; }
`

func newRegistry(t *testing.T, source string) *registry.Registry {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"shop.proto": {Data: []byte(source)}}, "shop.proto"))
	return reg
}

// serve starts a server with a mock and returns a conn to it.
func serve(t *testing.T, config mock.Config) *dynamic.Conn {
	t.Helper()
	reg := newRegistry(t, source)
	m, err := mock.New(reg, config)
	require.NoError(t, err)
	b := bus.NewLocal()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	server := dynamic.NewServer(b, mock.WithTopics())
	t.Cleanup(func() { assert.NoError(t, server.Shutdown(context.Background())) })
	service, _ := reg.Service("shop.Orders")
	registration, err := server.Register(service, m.Handlers(service))
	require.NoError(t, err)
	require.NoError(t, registration.RegisterTopic("In", "eu"))
	ctx, cancel := context.WithCancel(t.Context())
	var publishing sync.WaitGroup
	publishing.Go(func() { m.Publish(ctx, [][]string{{"eu"}}, registration) })
	t.Cleanup(publishing.Wait)
	t.Cleanup(cancel)
	conn, err := dynamic.NewConn(b, reg, dynamic.WithClientTimeout(time.Minute), dynamic.WithSelectionTimeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	return conn
}

func stubs(t *testing.T, yaml string) []*mock.Stub {
	t.Helper()
	loaded, err := mock.LoadStubs(strings.NewReader(yaml))
	require.NoError(t, err)
	return loaded
}

func call(t *testing.T, conn *dynamic.Conn, method string, request map[string]any, opts ...dynamic.RequestOption) string {
	t.Helper()
	response, err := dynamic.Invoke(t.Context(), conn, "shop.Orders/"+method, request, opts...)
	require.NoError(t, err)
	return asJSON(t, response)
}

func asJSON(t *testing.T, message proto.Message) string {
	t.Helper()
	encoded, err := protojson.Marshal(message)
	require.NoError(t, err)
	return string(encoded)
}

func TestMock_GeneratesTheSameAnswerToTheSameRequest(t *testing.T) {
	one, other, seeded := serve(t, mock.Config{}), serve(t, mock.Config{}), serve(t, mock.Config{Seed: 7})
	request := map[string]any{"id": 7}
	answer := call(t, one, "Get", request)
	assert.Contains(t, answer, `"name"`)
	assert.JSONEq(t, answer, call(t, one, "Get", request))
	assert.JSONEq(t, answer, call(t, other, "Get", request))
	assert.NotEqual(t, answer, call(t, seeded, "Get", request))
	assert.NotEqual(t, answer, call(t, one, "Get", map[string]any{"id": 8}))
	assert.NotEqual(t, answer, call(t, one, "Best", request))
}

func TestMock_ServesEveryKind(t *testing.T) {
	conn := serve(t, mock.Config{Every: time.Millisecond})
	call(t, conn, "In", nil, dynamic.WithTopic("eu"))
	responses, err := dynamic.InvokeMulti(t.Context(), conn, "shop.Orders/All", nil)
	require.NoError(t, err)
	for response := range responses {
		require.NoError(t, response.Err)
	}
	stream, err := dynamic.InvokeStream(t.Context(), conn, "shop.Orders/Flow")
	require.NoError(t, err)
	require.NoError(t, stream.Send(map[string]any{"id": 1}))
	assert.NotNil(t, <-stream.Channel())
	require.NoError(t, stream.Close(nil))
	subscription, err := dynamic.InvokeSubscribe(t.Context(), conn, "shop.Orders/News")
	require.NoError(t, err)
	first, second := <-subscription.Channel(), <-subscription.Channel()
	assert.NotEqual(t, asJSON(t, first), asJSON(t, second))
}

func TestMock_Stubs(t *testing.T) {
	var mu sync.Mutex
	sources := map[string]int{}
	conn := serve(t, mock.Config{
		Answered: func(a mock.Answer) {
			mu.Lock()
			defer mu.Unlock()
			sources[a.Source]++
		},
		Stubs: stubs(t, `
stubs:
  - method: shop.Orders/Get
    when: request.id == 1
    then: {id: 1, state: PAID, tags: [a, b], related: {"5": {id: 5}}}
  - method: Orders/Get
    when: request.id == 2
    error: "not_found: no such order"
  - method: Get
    when: request.id == 3
    then: "Order{id: n, name: request.name + '!', state: State.PAID}"
    times: 2
  - method: Get
    when: request.id == 3
    then: "{'id': 33, 'name': metadata['user'], 'tags': request.tags}"
  - method: Orders/In
    then: "{'name': topic[0]}"
  - method: Get
    when: request.id == 4
    then: {}
    delay: 30ms
  - method: Orders/Flow
    then: [{id: 1}, {id: 2}]
  - method: Orders/News
    then: {name: news}
    every: 1ms
`),
	})
	assert.JSONEq(t, `{"id":"1","state":"PAID","tags":["a","b"],"related":{"5":{"id":"5"}}}`, call(t, conn, "Get", map[string]any{"id": 1}))
	_, err := dynamic.Invoke(t.Context(), conn, "shop.Orders/Get", map[string]any{"id": 2})
	require.ErrorIs(t, err, errors.NotFound)
	assert.Contains(t, err.Error(), "no such order")
	named := map[string]any{"id": 3, "name": "Ada", "tags": []any{"x"}}
	assert.JSONEq(t, `{"id":"1","name":"Ada!","state":"PAID"}`, call(t, conn, "Get", named))
	assert.JSONEq(t, `{"id":"2","name":"Ada!","state":"PAID"}`, call(t, conn, "Get", named))
	assert.JSONEq(t, `{"id":"33","name":"root","tags":["x"]}`,
		call(t, conn, "Get", named, dynamic.WithMetadata(map[string]string{"user": "root"})))
	_, err = dynamic.Invoke(t.Context(), conn, "shop.Orders/Get", named)
	require.ErrorIs(t, err, errors.Internal, "the metadata has no such key")
	assert.JSONEq(t, `{"name":"eu"}`, call(t, conn, "In", nil, dynamic.WithTopic("eu")))
	start := time.Now()
	assert.JSONEq(t, `{}`, call(t, conn, "Get", map[string]any{"id": 4}))
	assert.GreaterOrEqual(t, time.Since(start), 30*time.Millisecond)

	stream, err := dynamic.InvokeStream(t.Context(), conn, "shop.Orders/Flow")
	require.NoError(t, err)
	require.NoError(t, stream.Send(nil))
	assert.JSONEq(t, `{"id":"1"}`, asJSON(t, <-stream.Channel()))
	assert.JSONEq(t, `{"id":"2"}`, asJSON(t, <-stream.Channel()))
	require.NoError(t, stream.Close(nil))
	subscription, err := dynamic.InvokeSubscribe(t.Context(), conn, "shop.Orders/News")
	require.NoError(t, err)
	assert.JSONEq(t, `{"name":"news"}`, asJSON(t, <-subscription.Channel()))
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, 2, sources["stub 3"])
	assert.Equal(t, 2, sources["stub 4"])
}

// A mock must report an update that cannot be created.
func TestMock_ReportsUpdatesThatFail(t *testing.T) {
	failures := make(chan error, 1)
	serve(t, mock.Config{
		Answered: func(a mock.Answer) {
			select {
			case failures <- a.Err:
			default:
			}
		},
		Stubs: stubs(t, `stubs: [{method: News, then: "{'name': topic[0]}", every: 1ms}]`),
	})
	require.ErrorIs(t, <-failures, errors.Internal, "the method has no topic")
}

func TestLoadStubs_SaysWhatIsWrong(t *testing.T) {
	reg := newRegistry(t, source)
	for yaml, want := range map[string]string{
		`stubs: [{method: Get}]`:                                     "stub 1 (Get): it has neither then nor error",
		`stubs: [{then: {}}]`:                                        "it names no method",
		`stubs: [{method: Get, than: {}}]`:                           "field than not found",
		`stubs: [{method: Get, then: {}, error: not_found}]`:         "exclude each other",
		`stubs: [{method: Get, error: nope}]`:                        `"nope" is no error code`,
		`stubs: [{method: Get, then: {}, delay: 5}]`:                 `"5" is no delay: write it like 5ms or 5ms±2ms`,
		`stubs: [{method: Get, then: {}, times: -1}]`:                "times must not be negative",
		`stubs: [{method: Gett, then: {}}]`:                          "there is no method Gett",
		`stubs: [{method: Get, then: {title: x}}]`:                   "title",
		`stubs: [{method: Get, then: [{}]}]`:                         "a single call has one answer",
		`stubs: [{method: Get, then: {}, every: 1s}]`:                "every is for subscriptions",
		`stubs: [{method: News, error: not_found}]`:                  "error and delay are not for subscriptions",
		`stubs: [{method: News, then: {}, delay: 1s}]`:               "error and delay are not for subscriptions",
		`stubs: [{method: Get, then: {}, when: request.title == 1}]`: "undefined field 'title'",
		`stubs: [{method: Get, then: {}, when: "1"}]`:                "must be true or false",
		`stubs: [{method: Get, then: "1 +"}]`:                        "Syntax error",
	} {
		loaded, err := mock.LoadStubs(strings.NewReader(yaml))
		if err == nil {
			_, err = mock.New(reg, mock.Config{Stubs: loaded})
		}
		require.ErrorIs(t, err, errors.InvalidArgument, yaml)
		assert.Contains(t, err.Error(), want, yaml)
	}
}

func TestMock_EchoesAndFails(t *testing.T) {
	half := float32(0.5)
	conn := serve(t, mock.Config{Echo: true, Affinity: &half, Latency: mock.Delay{Base: 2 * time.Millisecond, Jitter: time.Millisecond}})
	request := map[string]any{"id": 7, "name": "Ada", "tags": []any{"x", "y"}}
	assert.JSONEq(t, `{"id":"7","name":"Ada","tags":["x","y"]}`, call(t, conn, "Best", request))
	_, err := dynamic.Invoke(t.Context(), conn, "shop.Orders/Best", request,
		dynamic.WithSelectionOpts(dynamic.SelectionOpts{MinimumAffinity: 0.6}))
	require.ErrorIs(t, err, errors.Unavailable)

	failures, err := mock.ParseFailures("100%:resource_exhausted:too much")
	require.NoError(t, err)
	_, err = dynamic.Invoke(t.Context(), serve(t, mock.Config{Failures: failures}), "shop.Orders/Get", nil)
	require.ErrorIs(t, err, errors.ResourceExhausted)
	assert.Contains(t, err.Error(), "too much")
}

func TestParse(t *testing.T) {
	for text, want := range map[string]mock.Delay{
		"5ms": {Base: 5 * time.Millisecond}, "5ms±2ms": {5 * time.Millisecond, 2 * time.Millisecond},
		"1s +- 10ms": {time.Second, 10 * time.Millisecond}, "0s": {},
	} {
		delay, err := mock.ParseDelay(text)
		require.NoError(t, err)
		assert.Equal(t, want, delay)
	}
	for text, want := range map[string]mock.Failures{
		"1%": {Share: 0.01, Code: errors.Unavailable}, "0.5:not_found:gone: away": {0.5, errors.NotFound, "gone: away"},
	} {
		failures, err := mock.ParseFailures(text)
		require.NoError(t, err)
		assert.Equal(t, want, failures)
	}
	for _, bad := range []string{"", "5", "-5ms", "5ms±", "5ms±-1ms", "25h", "1s±2000000h"} {
		_, err := mock.ParseDelay(bad)
		assert.ErrorIs(t, err, errors.InvalidArgument)
	}
	for _, bad := range []string{"", "x%", "101%", "-1%", "NaN", "1%:nope"} {
		_, err := mock.ParseFailures(bad)
		assert.ErrorIs(t, err, errors.InvalidArgument, bad)
	}
}

func TestMock_AnswersAsRecorded(t *testing.T) {
	reg := newRegistry(t, source)
	s, _ := reg.Service("shop.Orders")
	encode := func(name, json string) []byte {
		messageType, err := s.FindMessageByName(protoreflect.FullName(name))
		require.NoError(t, err)
		m := messageType.New().Interface()
		require.NoError(t, protojson.Unmarshal([]byte(json), m))
		encoded, err := proto.Marshal(m)
		require.NoError(t, err)
		return encoded
	}
	rec := new(recording.Recording)
	record := func(id, request, response string) {
		event := recording.Event{Method: "shop.Orders/Get", RequestID: id, Kind: fleet.TapRequested}
		event.Payload = encode("shop.GetRequest", request)
		rec.Events = append(rec.Events, event)
		event.Kind, event.Payload = fleet.TapError, nil
		event.Code = errors.NotFound
		if response != "" {
			event.Kind, event.Code, event.Payload = fleet.TapResponse, errors.OK, encode("shop.Order", response)
		}
		rec.Events = append(rec.Events, event)
	}
	record("1", `{"id": 1, "name": "a", "tags": ["x"]}`, `{"name": "first"}`)
	record("2", `{"id": 2, "name": "b"}`, `{"name": "second"}`)
	record("3", `{"id": 3, "name": "c"}`, ``)
	conn := serve(t, mock.Config{Recording: rec})
	assert.JSONEq(t, `{"name":"second"}`, call(t, conn, "Get", map[string]any{"id": 2, "name": "b"}))
	assert.JSONEq(t, `{"name":"first"}`, call(t, conn, "Get", map[string]any{"id": 9, "name": "a", "tags": []any{"x"}}))
	_, err := dynamic.Invoke(t.Context(), conn, "shop.Orders/Get", map[string]any{"id": 3, "name": "c"})
	require.ErrorIs(t, err, errors.NotFound)
	assert.NotEmpty(t, call(t, conn, "Best", nil), "an answer is generated for methods that were not recorded")
}

const validated = `syntax = "proto3";
package shop;
import "options.proto";
import "buf/validate/validate.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
service Orders { rpc Get(Order) returns (Order); }
message Order {
  int64 id = 1 [(buf.validate.field).int64 = { gte: 5000 lt: 5005 }];
  string name = 2 [(buf.validate.field).string = { min_len: 30 max_len: 40 }];
  string mail = 3 [(buf.validate.field).string.email = true];
  string code = 4 [(buf.validate.field).string.pattern = "^[A-Z]{3}-(a|b)[0-9]+x?$"];
  string uid = 5 [(buf.validate.field).string.uuid = true];
  repeated string tags = 6 [(buf.validate.field).repeated = { min_items: 4 items: { string: { in: ["x", "y"] } } }];
  map<string, int32> counts = 7 [(buf.validate.field).map = { min_pairs: 3 keys: { string: { len: 8 } } values: { int32: { lt: -5 } } }];
  State state = 8 [(buf.validate.field).enum = { defined_only: true not_in: [0, 1] }];
  double share = 9 [(buf.validate.field).double = { gt: 0 lte: 1 }];
  google.protobuf.Duration took = 10 [(buf.validate.field).duration = { gte: { seconds: 7000 } lt: { seconds: 7002 } }];
  google.protobuf.StringValue note = 11 [(buf.validate.field).string.prefix = "N:"];
  bytes key = 12 [(buf.validate.field).bytes.len = 3];
  uint32 fixed = 13 [(buf.validate.field).uint32.const = 77];
  string ip = 14 [(buf.validate.field).string.ipv4 = true];
  int32 low = 15;
  int32 high = 16;
  option (buf.validate.message).cel = { id: "ordered" message: "low must be below high" expression: "this.low < this.high" };
}
enum State { UNKNOWN = 0; NEW = 1; PAID = 2; }
`

func TestGenerate_KeepsToRulesOfProtovalidate(t *testing.T) {
	reg := newRegistry(t, validated)
	s, _ := reg.Service("shop.Orders")
	method, _ := s.Method("Get")
	for seed := range uint64(30) {
		message, err := mock.Generate(s, method.Output(), rand.New(rand.NewPCG(seed, 0)))
		require.NoError(t, err)
		require.NoError(t, protovalidate.Validate(message), "%s", asJSON(t, message))
	}
}

// If the messages of a schema contain each other, generated messages must still be finite.
func TestGenerate_IsBounded(t *testing.T) {
	wide := strings.Builder{}
	wide.WriteString("syntax = \"proto3\"; package shop; service Orders { rpc Get(Order) returns (Order); } message Order {")
	for i := range 100 {
		fmt.Fprintf(&wide, " repeated Order o%d = %d;", i, i+1)
	}
	reg := newRegistry(t, wide.String()+"}")
	s, _ := reg.Service("shop.Orders")
	method, _ := s.Method("Get")
	message, err := mock.Generate(s, method.Output(), rand.New(rand.NewPCG(1, 0)))
	require.NoError(t, err)
	assert.Less(t, proto.Size(message), 1<<20)
}

// Generated fields should rarely be zero, because zero usually means that a field is not set.
func TestGenerate_PrefersValuesOtherThanZero(t *testing.T) {
	reg := newRegistry(t, source)
	s, _ := reg.Service("shop.Orders")
	method, _ := s.Method("Get")
	for seed := range uint64(20) {
		message, err := mock.Generate(s, method.Output(), rand.New(rand.NewPCG(seed, 0)))
		require.NoError(t, err)
		assert.Less(t, proto.Size(message), 64<<10)
		assert.NotContains(t, asJSON(t, message), "UNKNOWN")
	}
}
