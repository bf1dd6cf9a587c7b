package dynamic_test

import (
	"context"
	"encoding/json"
	"math"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const mapSource = `syntax = "proto2"; package maps;
import "google/protobuf/any.proto"; import "google/protobuf/duration.proto"; import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto"; import "google/protobuf/wrappers.proto"; import "options.proto";
message Inner { optional string name = 1; optional Inner next = 2; repeated Inner more = 3; extensions 100 to 199; }
enum Color { RED = 0; }
message Other { optional string name = 1; }
extend Inner { optional Inner extra = 100; }
message Req {
  optional Inner one = 1; repeated Inner many = 2; map<string, Inner> by_name = 3; map<int32, Inner> by_number = 4;
  optional google.protobuf.Timestamp moment = 5; repeated google.protobuf.Timestamp moments = 6;
  optional google.protobuf.Duration wait = 7; map<string, google.protobuf.Duration> waits = 8;
  optional google.protobuf.Any any = 9; optional google.protobuf.Struct free = 10; optional google.protobuf.Value value = 11;
  optional string text = 12; optional int64 number = 13; optional google.protobuf.StringValue wrapped = 14;
  oneof choice { Inner left = 15; string right = 16; }
  optional bytes data = 17; optional group Part = 18 { optional Inner inner = 1; }
  repeated google.protobuf.Any anys = 19; optional double ratio = 20; optional Color color = 21;
  repeated float ratios = 22; map<bool, Inner> by_flag = 23;
}
service Maps {
  rpc Echo(Req) returns (Req);
  rpc Each(Req) returns (Req) { option (psrpc.options).type = MULTI; }
  rpc Flow(Req) returns (Req) { option (psrpc.options).stream = true; }
  rpc News(Req) returns (Req) { option (psrpc.options).subscription = true; }
}`

// mapWorld serves maps.Maps with handlers that send back each request. It returns a conn and the
// service.
func mapWorld(t *testing.T, opts ...dynamic.ConnOption) (*dynamic.Conn, *registry.Service) {
	t.Helper()
	reg := schemaRegistry(t, mapSource)
	service, _ := reg.Service("maps.Maps")
	b := bus.NewLocal()
	server := dynamic.NewServer(b)
	t.Cleanup(func() { server.Kill() })
	echo := func(_ context.Context, r *dynamicpb.Message) (*dynamicpb.Message, error) { return r, nil }
	_, err := server.Register(service, dynamic.Handlers{
		"Echo": dynamic.Unary(echo), "Each": dynamic.Unary(echo),
		"Flow": dynamic.Stream(func(stream dynamic.ServerStream[*dynamicpb.Message, *dynamicpb.Message]) error {
			for message := range stream.Channel() {
				if err := stream.Send(message); err != nil {
					return err
				}
			}
			return nil
		}),
	})
	require.NoError(t, err)
	conn, err := dynamic.NewConn(b, reg, append([]dynamic.ConnOption{patientConn}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	return conn, service
}

// message returns a dynamic message of the type called name, parsed from JSON text.
func message(t *testing.T, service *registry.Service, name, text string) *dynamicpb.Message {
	t.Helper()
	method, _ := service.Method("Echo")
	md := method.Input().ParentFile().Messages().ByName(protoreflect.Name(name))
	require.NotNil(t, md, name)
	m := dynamicpb.NewMessage(md)
	require.NoError(t, protojson.UnmarshalOptions{Resolver: service}.Unmarshal([]byte(text), m))
	return m
}

func TestInvoke_MapWithMessagesTimesAndDurations(t *testing.T) {
	t.Parallel()
	conn, service := mapWorld(t)
	ada := message(t, service, "Inner", `{"name": "Ada"}`)
	deep := message(t, service, "Inner", `{"name": "Ada", "next": {"name": "Bo"}, "[maps.extra]": {"name": "Cy"}}`)
	const deepJSON = `{"name": "Ada", "next": {"name": "Bo"}, "[maps.extra]": {"name": "Cy"}}`
	moment := time.Date(2026, 5, 4, 3, 2, 1, 500_000_000, time.FixedZone("", 3600))
	wait := 1500 * time.Millisecond
	type m = map[string]any
	for label, test := range map[string]struct {
		request m
		want    string
	}{
		"field":              {m{"one": ada}, `{"one": {"name": "Ada"}}`},
		"field, deep":        {m{"one": deep}, `{"one": ` + deepJSON + `}`},
		"field, nested":      {m{"one": m{"next": m{"next": ada}}}, `{"one": {"next": {"next": {"name": "Ada"}}}}`},
		"field, empty":       {m{"one": message(t, service, "Inner", `{}`)}, `{"one": {}}`},
		"field, nil":         {m{"one": (*dynamicpb.Message)(nil), "moment": (*timestamppb.Timestamp)(nil)}, `{}`},
		"extension":          {m{"one": m{"[maps.extra]": ada}}, `{"one": {"[maps.extra]": {"name": "Ada"}}}`},
		"group":              {m{"part": m{"inner": ada}}, `{"part": {"inner": {"name": "Ada"}}}`},
		"oneof":              {m{"left": ada}, `{"left": {"name": "Ada"}}`},
		"list of messages":   {m{"many": []proto.Message{ada, deep}}, `{"many": [{"name": "Ada"}, ` + deepJSON + `]}`},
		"list of dynamic":    {m{"many": []*dynamicpb.Message{ada}}, `{"many": [{"name": "Ada"}]}`},
		"mixed list":         {m{"many": []any{ada, m{"name": "Bo"}}}, `{"many": [{"name": "Ada"}, {"name": "Bo"}]}`},
		"list of maps":       {m{"many": []m{{"more": []any{ada}}}}, `{"many": [{"more": [{"name": "Ada"}]}]}`},
		"array":              {m{"many": [1]proto.Message{ada}}, `{"many": [{"name": "Ada"}]}`},
		"map":                {m{"by_name": m{"x": ada}}, `{"byName": {"x": {"name": "Ada"}}}`},
		"map by JSON name":   {m{"byName": map[string]proto.Message{"x": ada}}, `{"byName": {"x": {"name": "Ada"}}}`},
		"map by number":      {m{"by_number": map[int32]*dynamicpb.Message{7: ada}}, `{"byNumber": {"7": {"name": "Ada"}}}`},
		"map nested":         {m{"byName": m{"x": m{"next": ada}}}, `{"byName": {"x": {"next": {"name": "Ada"}}}}`},
		"timestamp":          {m{"moment": timestamppb.New(moment)}, `{"moment": "2026-05-04T02:02:01.500Z"}`},
		"time":               {m{"moment": moment}, `{"moment": "2026-05-04T02:02:01.500Z"}`},
		"pointer to a time":  {m{"moment": &moment}, `{"moment": "2026-05-04T02:02:01.500Z"}`},
		"list of times":      {m{"moments": []time.Time{moment}}, `{"moments": ["2026-05-04T02:02:01.500Z"]}`},
		"list with a nil":    {m{"text": "x", "moments": []time.Time(nil)}, `{"text": "x"}`},
		"time as a string":   {m{"text": moment}, `{"text": "2026-05-04T03:02:01.5+01:00"}`},
		"duration":           {m{"wait": wait}, `{"wait": "1.500s"}`},
		"duration message":   {m{"wait": durationpb.New(-wait)}, `{"wait": "-1.500s"}`},
		"map of durations":   {m{"waits": map[string]time.Duration{"x": wait}}, `{"waits": {"x": "1.500s"}}`},
		"duration as number": {m{"number": wait}, `{"number": "1500000000"}`},
		"duration as string": {m{"text": wait}, `{"text": "1.500s"}`},
		"any of a message":   {m{"any": ada}, `{"any": {"@type": "type.googleapis.com/maps.Inner", "name": "Ada"}}`},
		"any of a timestamp": {m{"any": timestamppb.New(moment)}, `{"any": {"@type": "type.googleapis.com/google.protobuf.Timestamp", "value": "2026-05-04T02:02:01.500Z"}}`},
		"any packed":         {m{"any": packed(t, ada)}, `{"any": {"@type": "type.googleapis.com/maps.Inner", "name": "Ada"}}`},
		"any as a map":       {m{"any": m{"@type": "x/maps.Inner", "next": ada}}, `{"any": {"@type": "x/maps.Inner", "next": {"name": "Ada"}}}`},
		"any as a map, time": {m{"any": m{"@type": "x/google.protobuf.Timestamp", "value": moment}}, `{"any": {"@type": "x/google.protobuf.Timestamp", "value": "2026-05-04T02:02:01.500Z"}}`},
		"list of any":        {m{"anys": []proto.Message{ada, durationpb.New(wait)}}, `{"anys": [{"@type": "type.googleapis.com/maps.Inner", "name": "Ada"}, {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1.500s"}]}`},
		"struct":             {m{"free": m{"who": ada, "when": moment, "wait": wait, "all": []any{ada}}}, `{"free": {"who": {"name": "Ada"}, "when": "2026-05-04T03:02:01.5+01:00", "wait": "1.500s", "all": [{"name": "Ada"}]}}`},
		"struct message":     {m{"free": structOf(t, m{"a": "b"})}, `{"free": {"a": "b"}}`},
		"value":              {m{"value": ada}, `{"value": {"name": "Ada"}}`},
		"value message":      {m{"value": structpb.NewNumberValue(7)}, `{"value": 7}`},
		"wrapper":            {m{"wrapped": wrapperspb.String("hi")}, `{"wrapped": "hi"}`},
		"bytes":              {m{"data": []byte("hi"), "one": ada}, `{"data": "aGk=", "one": {"name": "Ada"}}`},
		"pointers":           {m{"text": new("x"), "number": new(7), "one": &m{"name": "Ada"}}, `{"text": "x", "number": "7", "one": {"name": "Ada"}}`},
		"encodes itself":     {m{"number": big.NewInt(7), "one": ada}, `{"number": "7", "one": {"name": "Ada"}}`},
		"struct without any": {m{"one": struct {
			Name string `json:"name"`
		}{"Ada"}, "wait": wait}, `{"one": {"name": "Ada"}, "wait": "1.500s"}`},
		"not a number": {m{"ratio": math.NaN(), "ratios": []float32{1, float32(math.Inf(1)), float32(math.Inf(-1))}}, `{"ratio": "NaN", "ratios": [1, "Infinity", "-Infinity"]}`},
		"map by bool":  {m{"by_flag": map[bool]proto.Message{true: ada}}, `{"byFlag": {"true": {"name": "Ada"}}}`},
		"null":         {m{"one": nil, "wait": wait}, `{"wait": "1.500s"}`},
	} {
		response, err := dynamic.Invoke(t.Context(), conn, "maps.Maps/Echo", test.request)
		require.NoError(t, err, label)
		got, err := protojson.MarshalOptions{Resolver: service}.Marshal(response)
		require.NoError(t, err, label)
		assert.JSONEq(t, test.want, string(got), label)
	}
}

func packed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	box, err := anypb.New(m)
	require.NoError(t, err)
	return box
}

func structOf(t *testing.T, fields map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(fields)
	require.NoError(t, err)
	return s
}

func TestInvoke_MapWithAWrongValueNamesTheField(t *testing.T) {
	t.Parallel()
	conn, service := mapWorld(t)
	ada, other := message(t, service, "Inner", `{"name": "Ada"}`), message(t, service, "Other", `{"name": "Bo"}`)
	unknown := proto.Clone(ada).(*dynamicpb.Message)
	unknown.SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 50, protowire.VarintType), 1))
	nested := message(t, service, "Inner", `{"next": {}}`)
	nested.Set(nested.Descriptor().Fields().ByName("next"), protoreflect.ValueOfMessage(unknown))
	type m = map[string]any
	cyclic := m{}
	cyclic["one"] = m{"next": cyclic}
	for label, test := range map[string]struct {
		request m
		want    string
	}{
		"other message":         {m{"one": other}, "one: wanted message maps.Inner, given message maps.Other"},
		"other message, nested": {m{"one": m{"next": other}}, "one: next: wanted message maps.Inner, given message maps.Other"},
		"other in a list":       {m{"many": []proto.Message{ada, other}}, "many: [1]: wanted message maps.Inner"},
		"other in a map":        {m{"by_name": m{"x": other}}, "by_name: x: wanted message maps.Inner"},
		"message for a list":    {m{"many": ada}, "many: wanted a list or map, each element message maps.Inner, given message maps.Inner"},
		"message for a string":  {m{"text": ada}, "text: wanted a value of type string, given message maps.Inner"},
		"wrapper for a string":  {m{"text": wrapperspb.String("x")}, "text: wanted a value of type string"},
		"message for a time":    {m{"moment": ada}, "moment: wanted message google.protobuf.Timestamp"},
		"time for a message":    {m{"one": time.Now()}, "one: wanted message maps.Inner, given a time.Time"},
		"time out of range":     {m{"moment": time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)}, "moment: "},
		"duration for messages": {m{"many": time.Second}, "many: wanted a list"},
		"unknown fields":        {m{"one": unknown}, "one: message maps.Inner has unknown fields"},
		"unknown fields inside": {m{"many": []any{nested}}, "many: [0]: message maps.Inner has unknown fields"},
		"struct with a message": {m{"one": struct{ Next proto.Message }{ada}}, "one: a struct { Next protoreflect.ProtoMessage } contains a protobuf message"},
		"slices in a struct":    {m{"one": &struct{ More []*dynamicpb.Message }{[]*dynamicpb.Message{ada}}}, "one: a struct"},
		"no type":               {m{"one": &dynamicpb.Message{}}, "one: "},
		"unknown field":         {m{"nothing": ada}, "nothing"},
		"not a number, in JSON": {m{"free": m{"x": math.NaN()}}, "NaN"},
		"wrong type":            {m{"text": "x", "number": "y"}, `cannot parse as maps.Req: number: invalid value for int64 field number: "y"`},
		"wrong type, nested":    {m{"one": m{"next": m{"name": 5}}}, "cannot parse as maps.Req: one: next: name: invalid value for string field name: 5"},
		"wrong type, in a list": {m{"many": []any{m{"name": 5}}}, "cannot parse as maps.Req: many: invalid value for string field name: 5"},
		"string for a list":     {m{"many": "x"}, `cannot parse as maps.Req: many: unexpected token "x"`},
		"misspelt":              {m{"one": m{"nme": "x"}}, `cannot parse as maps.Req: one: nme: unknown field "nme"`},
		"channel":               {m{"text": make(chan int)}, "cannot parse as maps.Req: text: json: unsupported type: chan int"},
		"both of a oneof":       {m{"left": m{}, "right": "x"}, "oneof maps.Req.choice is already set"},
		"cycle":                 {cyclic, "nested too deeply, or it contains itself"},
	} {
		_, err := dynamic.Invoke(t.Context(), conn, "maps.Maps/Echo", test.request)
		requireCode(t, errors.InvalidArgument, err)
		require.ErrorContains(t, err, test.want, label)
	}
}

func TestInvoke_MapWithMessagesInEveryFunction(t *testing.T) {
	t.Parallel()
	conn, service := mapWorld(t)
	request := map[string]any{"one": message(t, service, "Inner", `{"name": "Ada"}`), "wait": time.Second}
	requireEcho := func(label string, got proto.Message) {
		text, err := protojson.Marshal(got)
		require.NoError(t, err)
		assert.JSONEq(t, `{"one": {"name": "Ada"}, "wait": "1s"}`, string(text), label)
	}
	responses, err := dynamic.InvokeMulti(t.Context(), conn, "maps.Maps/Each", request)
	require.NoError(t, err)
	for response := range responses {
		require.NoError(t, response.Err)
		requireEcho("InvokeMulti", response.Result)
	}
	stream, err := dynamic.InvokeStream(t.Context(), conn, "maps.Maps/Flow")
	require.NoError(t, err)
	require.NoError(t, stream.Send(request))
	requireEcho("InvokeStream", <-stream.Channel())
	require.NoError(t, stream.Close(nil))

	updates, err := dynamic.InvokeSubscribe(t.Context(), conn, "maps.Maps/News")
	require.NoError(t, err)
	require.NoError(t, dynamic.Publish(t.Context(), conn, "maps.Maps/News", request))
	requireEcho("Publish", <-updates.Channel())
	require.NoError(t, updates.Close())
}

func TestInvoke_DiscardUnknown(t *testing.T) {
	t.Parallel()
	strict, service := mapWorld(t)
	tolerant, _ := mapWorld(t, dynamic.WithDiscardUnknown())
	for label, request := range map[string]any{
		"JSON": json.RawMessage(`{"text": "x", "one": {"name": "Ada", "age": 7}, "choices": ["A"], "[maps.gone]": 1}`),
		"map": map[string]any{"text": "x", "one": map[string]any{"name": "Ada", "age": 7}, "choices": []string{"A"}, "[maps.gone]": 1,
			"who": message(t, service, "Inner", `{"name": "Bo"}`)},
	} {
		for conn, opts := range map[*dynamic.Conn][]dynamic.RequestOption{strict: {dynamic.WithDiscardUnknown()}, tolerant: nil} {
			check := func(got proto.Message) {
				t.Helper()
				text, err := protojson.Marshal(got)
				require.NoError(t, err)
				assert.JSONEq(t, `{"text": "x", "one": {"name": "Ada"}}`, string(text), label)
			}
			response, err := dynamic.Invoke(t.Context(), conn, "maps.Maps/Echo", request, opts...)
			require.NoError(t, err, label)
			check(response)
			responses, err := dynamic.InvokeMulti(t.Context(), conn, "maps.Maps/Each", request, opts...)
			require.NoError(t, err, label)
			for response := range responses {
				require.NoError(t, response.Err)
				check(response.Result)
			}
			stream, err := dynamic.InvokeStream(t.Context(), conn, "maps.Maps/Flow", opts...)
			require.NoError(t, err, label)
			require.NoError(t, stream.Send(request), label)
			check(<-stream.Channel())
			require.NoError(t, stream.Close(nil))
			updates, err := dynamic.InvokeSubscribe(t.Context(), conn, "maps.Maps/News")
			require.NoError(t, err, label)
			require.NoError(t, dynamic.Publish(t.Context(), conn, "maps.Maps/News", request, opts...), label)
			check(<-updates.Channel())
			require.NoError(t, updates.Close())
		}
		_, err := dynamic.Invoke(t.Context(), strict, "maps.Maps/Echo", request)
		requireCode(t, errors.InvalidArgument, err)
		_, err = dynamic.InvokeMulti(t.Context(), strict, "maps.Maps/Each", request)
		requireCode(t, errors.InvalidArgument, err)
		requireCode(t, errors.InvalidArgument, dynamic.Publish(t.Context(), strict, "maps.Maps/News", request))
	}
	response, err := dynamic.Invoke(t.Context(), tolerant, "maps.Maps/Echo", json.RawMessage(`{"color": "GREEN"}`))
	require.NoError(t, err)
	assert.Zero(t, proto.Size(response), "an unknown enum value is ignored")
	_, err = dynamic.Invoke(t.Context(), tolerant, "maps.Maps/Echo", json.RawMessage(`{"number": "seven"}`))
	requireCode(t, errors.InvalidArgument, err)
}
