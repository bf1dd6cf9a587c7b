package recording_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/recording"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const source = `syntax = "proto3";
package shop;
import "options.proto";
import "google/protobuf/any.proto";
import "google/protobuf/descriptor.proto";
extend google.protobuf.FieldOptions { bool secret = 50001; }
service Orders {
  rpc Get(GetRequest) returns (Order);
  rpc All(GetRequest) returns (Order) { option (psrpc.options).type = MULTI; }
  rpc News(GetRequest) returns (Order) { option (psrpc.options) = { subscription: true type: MULTI }; }
  rpc Flow(GetRequest) returns (Order) { option (psrpc.options).stream = true; }
}
message GetRequest { int64 id = 1; string card = 2 [debug_redact = true]; }
message Order {
  int64 id = 1;
  string name = 2;
  string token = 3 [(secret) = true];
  repeated Item items = 4;
  map<string, Item> parts = 5;
  google.protobuf.Any extra = 6;
  bytes key = 7 [debug_redact = true];
  State state = 8;
}
message Item { string sku = 1; double price = 2; string pin = 3 [debug_redact = true]; }
enum State { NEW = 0; PAID = 1; }
`

func newRegistry(t *testing.T) *registry.Registry {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"shop.proto": {Data: []byte(source)}}, "shop.proto"))
	return reg
}

func service(t *testing.T, reg *registry.Registry) *registry.Service {
	t.Helper()
	s, ok := reg.Service("shop.Orders")
	require.True(t, ok)
	return s
}

// message returns a message of the schema with fields from JSON.
func message(t *testing.T, s *registry.Service, name, json string) proto.Message {
	t.Helper()
	messageType, err := s.FindMessageByName(protoreflect.FullName("shop." + name))
	require.NoError(t, err)
	m := messageType.New().Interface()
	require.NoError(t, protojson.UnmarshalOptions{Resolver: s}.Unmarshal([]byte(json), m))
	return m
}

func encoded(t *testing.T, s *registry.Service, name, json string) []byte {
	t.Helper()
	b, err := proto.Marshal(message(t, s, name, json))
	require.NoError(t, err)
	return b
}

func recordedService(t *testing.T, s *registry.Service) recording.Service {
	t.Helper()
	files := new(descriptorpb.FileDescriptorSet)
	imports := s.Descriptor().ParentFile().Imports()
	for i := range imports.Len() {
		files.File = append(files.File, protodesc.ToFileDescriptorProto(imports.Get(i).FileDescriptor))
	}
	files.File = append(files.File, protodesc.ToFileDescriptorProto(s.Descriptor().ParentFile()))
	return recording.Service{Name: "shop.Orders", WireName: "Orders", Digest: fleet.Digest{1}, Files: files}
}

func event(kind fleet.TapKind, method, request string, payload []byte) *recording.Event {
	return &recording.Event{
		At: time.Unix(100, 5), Kind: kind, Method: method, ClientID: "CLI_1", RequestID: request, Payload: payload, ServerID: "SRV_1",
	}
}

func write(t *testing.T, s *registry.Service, header recording.Header, events ...*recording.Event) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := recording.NewWriter(&file, header)
	require.NoError(t, err)
	require.NoError(t, w.AddService(recordedService(t, s)))
	require.NoError(t, w.AddService(recordedService(t, s)))
	for _, e := range events {
		require.NoError(t, w.Add(e))
	}
	assert.EqualValues(t, len(events), w.Events())
	require.NoError(t, w.Close())
	return file.Bytes()
}

func load(t *testing.T, file []byte) *recording.Recording {
	t.Helper()
	rec, cut, err := recording.Load(bytes.NewReader(file))
	require.NoError(t, err)
	assert.False(t, cut)
	return rec
}

func TestFile_DescribesItself(t *testing.T) {
	s := service(t, newRegistry(t))
	header := recording.Header{Begun: time.Unix(1, 2), Bus: "redis", Software: "psrpc", Redacted: []string{"debug_redact", "shop.secret"}}
	full := &recording.Event{
		At: time.Unix(100, 5), Kind: fleet.TapRequested, Method: "shop.Orders/Get", Topic: []string{"a", "b"}, ClientID: "CLI_1",
		RequestID: "REQ_1", Duration: time.Second, Code: errors.NotFound, Affinity: 0.5, Metadata: map[string]string{"k": "v"},
		Payload: encoded(t, s, "GetRequest", `{"id": 7}`), Size: 9, Missed: 3, ServerID: "SRV_1",
	}
	rec := load(t, write(t, s, header, full))
	assert.Equal(t, header, rec.Header)
	require.Len(t, rec.Events, 1)
	assert.Equal(t, *full, rec.Events[0])
	require.Len(t, rec.Services, 1)

	reg, skipped, err := rec.Registry()
	require.NoError(t, err)
	assert.Empty(t, skipped)
	for _, name := range []string{"shop.Orders/Get", "Orders/Get"} {
		rec.Events[0].Method = name
		method := recording.MethodOf(reg, &rec.Events[0])
		require.NotNil(t, method)
		decoded, err := recording.Decode(method, &rec.Events[0])
		require.NoError(t, err)
		assert.Equal(t, recording.Values{"id": "7"}, recording.ValuesOf(decoded, method.Service()))
	}
	for _, name := range []string{"Orders/Put", "Other/Get", ""} {
		assert.Nil(t, recording.MethodOf(reg, &recording.Event{Method: name}))
	}
}

// recording.proto must describe exactly what the package writes, so that other languages can read
// it.
func TestFile_IsAsTheSchemaSays(t *testing.T) {
	schema, err := os.ReadFile("recording.proto")
	require.NoError(t, err)
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{
		"recording.proto": {Data: schema},
		"reader.proto": {Data: []byte(`syntax = "proto3"; import "recording.proto";
service Reader { rpc Read(dynpsrpc.recording.v1.Record) returns (dynpsrpc.recording.v1.Record); }`)},
	}, "reader.proto"))
	s := service(t, newRegistry(t))
	file := write(t, s, recording.Header{Begun: time.Unix(0, 9), Bus: "nats"}, event(fleet.TapRequested, "Orders/Get", "R", []byte("x")))
	unzipped, err := gzip.NewReader(bytes.NewReader(file))
	require.NoError(t, err)
	var all bytes.Buffer
	_, err = all.ReadFrom(unzipped)
	require.NoError(t, err)
	var kinds []string
	recordType, err := reg.FindMessageByName("dynpsrpc.recording.v1.Record")
	require.NoError(t, err)
	for all.Len() > 0 {
		size, err := binary.ReadUvarint(&all)
		require.NoError(t, err)
		record := recordType.New()
		require.NoError(t, proto.Unmarshal(all.Next(int(size)), record.Interface()))
		which := record.WhichOneof(recordType.Descriptor().Oneofs().Get(0))
		require.NotNil(t, which)
		kinds = append(kinds, string(which.Name()))
		inner := record.Get(which).Message()
		assert.Empty(t, inner.GetUnknown())
		switch which.Name() {
		case "header":
			assert.EqualValues(t, 9, inner.Get(inner.Descriptor().Fields().ByName("begun")).Int())
		case "event":
			assert.Equal(t, "SRV_1", inner.Get(inner.Descriptor().Fields().ByName("server_id")).String())
			assert.Equal(t, []byte("x"), inner.Get(inner.Descriptor().Fields().ByName("payload")).Bytes())
		}
	}
	assert.Equal(t, []string{"header", "service", "event"}, kinds)
}

func TestLoad_OfBrokenFiles(t *testing.T) {
	s := service(t, newRegistry(t))
	var events []*recording.Event
	for range 2000 {
		events = append(events, event(fleet.TapRequested, "Orders/Get", "R", bytes.Repeat([]byte{7}, 100)))
	}
	file := write(t, s, recording.Header{}, events...)
	rec, cut, err := recording.Load(bytes.NewReader(file[:len(file)-20]))
	require.NoError(t, err)
	assert.True(t, cut)
	assert.Less(t, len(rec.Events), 2000)
	for _, bad := range [][]byte{nil, []byte("hello"), file[:4], zipped([]byte{3, 1, 2, 3}), zipped(nil)} {
		_, _, err := recording.Load(bytes.NewReader(bad))
		assert.ErrorIs(t, err, errors.InvalidArgument)
	}
	huge := zipped(append([]byte{2, 0x0a, 0}, binary.AppendUvarint(nil, 1<<40)...))
	_, _, err = recording.Load(bytes.NewReader(huge))
	assert.Error(t, err)
}

func zipped(content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(content)
	_ = w.Close()
	return b.Bytes()
}

func TestRedactor(t *testing.T) {
	s := service(t, newRegistry(t))
	order := message(t, s, "Order", `{"id": 7, "token": "t", "key": "a2V5", "items": [{"sku": "a", "pin": "1"}],
		"parts": {"x": {"sku": "b", "pin": "2"}}, "extra": {"@type": "type.googleapis.com/shop.Item", "sku": "c", "pin": "3"}}`)
	order.ProtoReflect().SetUnknown([]byte{0xa8, 0x06, 1})
	recording.NewRedactor("debug_redact", "shop.secret").Apply(order, s)
	assert.Equal(t, recording.Values{
		"id": "7", "token": `"[redacted]"`, "items[0].sku": `"a"`, "items[0].pin": `"[redacted]"`,
		`parts["x"].sku`: `"b"`, `parts["x"].pin`: `"[redacted]"`,
		"extra.@type": "type.googleapis.com/shop.Item", "extra.sku": `"c"`, "extra.pin": `"[redacted]"`,
	}, recording.ValuesOf(order, s))
	assert.Empty(t, order.ProtoReflect().GetUnknown())
}

// Messages of type Any are decoded only a few levels deep, because each level is a copy.
func TestRedactor_NestedAnys(t *testing.T) {
	s := service(t, newRegistry(t))
	json := `{"token": "hidden", "name": "innermost"}`
	for range 30 {
		json = `{"name": "x", "extra": {"@type": "type.googleapis.com/shop.Order", ` + json[1:] + `}`
	}
	order := message(t, s, "Order", json)
	levels := 0
	for path := range recording.ValuesOf(order, s) {
		levels = max(levels, strings.Count(path, "extra."))
	}
	assert.Equal(t, 17, levels, "the last level has the fields of an Any")
	recording.NewRedactor("shop.secret").Apply(order, s)
	redacted, err := proto.Marshal(order)
	require.NoError(t, err)
	assert.NotContains(t, string(redacted), "hidden")
	assert.NotContains(t, string(redacted), "innermost")
}

func TestDiff(t *testing.T) {
	s := service(t, newRegistry(t))
	want := recording.ValuesOf(message(t, s, "Order", `{"id": 7, "state": "PAID", "items": [{"price": 1.5}, {}], "parts": {"x": {"sku": "b"}}}`), s)
	got := recording.ValuesOf(message(t, s, "Order", `{"id": 8, "items": [{"price": 1.5, "sku": "n"}], "parts": {"x": {"sku": "c"}}}`), s)
	all := []recording.Difference{
		{Path: "id", Want: "7", Got: "8"},
		{Path: "items[0].sku", Got: `"n"`},
		{Path: "items[1]", Want: "{}"},
		{Path: `parts["x"].sku`, Want: `"b"`, Got: `"c"`},
		{Path: "state", Want: "PAID"},
	}
	assert.Equal(t, all, recording.Diff(want, got, nil))
	assert.Empty(t, recording.Diff(want, want, nil))
	assert.Equal(t, len(all), want.Distance(got))
	assert.Zero(t, want.Distance(want))
	assert.Equal(t, []recording.Difference{all[2], all[4]}, recording.Diff(want, got, recording.NewIgnore("i*d", "items[*].sku", "parts")))
}

func TestReplay(t *testing.T) {
	reg := newRegistry(t)
	s := service(t, reg)
	get := func(id string, at time.Duration, want *recording.Event) []*recording.Event {
		request := event(fleet.TapRequested, "shop.Orders/Get", id, encoded(t, s, "GetRequest", `{"id": `+id+`, "card": "[redacted]"}`))
		request.At = request.At.Add(at)
		if want == nil {
			return []*recording.Event{request}
		}
		want.At, want.RequestID = request.At.Add(time.Millisecond), id
		return []*recording.Event{request, want}
	}
	order := func(json string) *recording.Event {
		return event(fleet.TapResponse, "shop.Orders/Get", "", encoded(t, s, "Order", json))
	}
	notFound := event(fleet.TapError, "shop.Orders/Get", "", nil)
	notFound.Code = errors.NotFound
	events := get("1", 0, order(`{"id": 1, "name": "one", "token": "[redacted]"}`))
	events = append(events, get("2", 20*time.Millisecond, order(`{"id": 2, "name": "two"}`))...)
	events = append(events, get("3", 40*time.Millisecond, notFound)...)
	events = append(events, get("4", 60*time.Millisecond, nil)...)
	for _, name := range []string{"a", "b"} {
		multi := event(fleet.TapRequested, "shop.Orders/All", "m", encoded(t, s, "GetRequest", `{"id": 9}`))
		answer := event(fleet.TapResponse, "shop.Orders/All", "m", encoded(t, s, "Order", `{"name": "`+name+`"}`))
		multi.At, multi.ServerID = multi.At.Add(80*time.Millisecond), "SRV_"+name
		events = append(events, multi, answer)
	}
	update := event(fleet.TapUpdate, "shop.Orders/News", "", encoded(t, s, "Order", `{"id": 5}`))
	update.At = update.At.Add(90 * time.Millisecond)
	opened := event(fleet.TapOpen, "shop.Orders/Flow", "s", nil)
	opened.At = opened.At.Add(95 * time.Millisecond)
	gone := event(fleet.TapRequested, "shop.Orders/Gone", "g", nil)
	gone.At = gone.At.Add(100 * time.Millisecond)
	rec := load(t, write(t, s, recording.Header{Redacted: []string{"debug_redact", "shop.secret"}}, append(events, update, opened, gone)...))

	b := bus.NewLocal()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	for _, name := range []string{"b", "a"} {
		server := dynamic.NewServer(b)
		t.Cleanup(func() { assert.NoError(t, server.Shutdown(context.Background())) })
		_, err := server.Register(s, dynamic.Handlers{
			"Get": dynamic.Unary(func(_ context.Context, request proto.Message) (proto.Message, error) {
				switch recording.ValuesOf(request, s)["id"] {
				case "3":
					return nil, errors.NewErrorf(errors.NotFound, "no order")
				case "1":
					return message(t, s, "Order", `{"id": 1, "name": "one", "token": "new"}`), nil
				default:
					return message(t, s, "Order", `{"id": 2, "name": "zwei"}`), nil
				}
			}),
			"All": dynamic.Unary(func(context.Context, proto.Message) (proto.Message, error) {
				return message(t, s, "Order", `{"name": "`+name+`"}`), nil
			}),
		}, dynamic.AllowMissing())
		require.NoError(t, err)
	}
	conn, err := dynamic.NewConn(b, reg, dynamic.WithClientTimeout(time.Minute), dynamic.WithSelectionTimeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	subscription, err := dynamic.InvokeSubscribe(t.Context(), conn, "shop.Orders/News")
	require.NoError(t, err)

	outcomes := map[string]recording.Outcome{}
	replay := &recording.Replay{Conn: conn, Registry: reg, Speed: 2, Compare: true, Done: func(o recording.Outcome) {
		outcomes[o.Event.Method+o.Event.RequestID] = o
	}}
	start := time.Now()
	require.NoError(t, replay.Run(t.Context(), rec))
	assert.GreaterOrEqual(t, time.Since(start), 50*time.Millisecond)
	statuses := map[string]recording.Status{}
	for name, o := range outcomes {
		statuses[name] = o.Status
	}
	assert.Equal(t, map[string]recording.Status{
		"shop.Orders/Get1": recording.Same, "shop.Orders/Get2": recording.Different, "shop.Orders/Get3": recording.Same,
		"shop.Orders/Get4": recording.Sent, "shop.Orders/Allm": recording.Same, "shop.Orders/News": recording.Sent,
		"shop.Orders/Flows": recording.Skipped, "shop.Orders/Goneg": recording.Skipped,
	}, statuses)
	assert.Equal(t, []recording.Difference{{Path: "name", Want: `"two"`, Got: `"zwei"`}}, outcomes["shop.Orders/Get2"].Differences)
	assert.Equal(t, "5", recording.ValuesOf(<-subscription.Channel(), s)["id"])

	clear(outcomes)
	replay.Only, replay.Speed, replay.Ignore = []string{"*/Get"}, 0, recording.NewIgnore("name")
	require.NoError(t, replay.Run(t.Context(), rec))
	assert.Len(t, outcomes, 4)
	assert.Equal(t, recording.Same, outcomes["shop.Orders/Get2"].Status)
	replay.Only = []string{"["}
	assert.ErrorIs(t, replay.Run(t.Context(), rec), errors.InvalidArgument)
}

// Load must not panic, whatever the file contains.
func FuzzLoad(f *testing.F) {
	var file bytes.Buffer
	w, err := recording.NewWriter(&file, recording.Header{Begun: time.Unix(1, 2), Bus: "redis", Redacted: []string{"x"}})
	require.NoError(f, err)
	require.NoError(f, w.AddService(recording.Service{Name: "a.B", WireName: "B", Files: new(descriptorpb.FileDescriptorSet)}))
	require.NoError(f, w.Add(event(fleet.TapRequested, "B/C", "R", []byte("x"))))
	require.NoError(f, w.Close())
	unzipped, err := gzip.NewReader(&file)
	require.NoError(f, err)
	content, err := io.ReadAll(unzipped)
	require.NoError(f, err)
	f.Add(content)
	f.Add([]byte{2, 0x0a, 0})
	f.Fuzz(func(t *testing.T, content []byte) {
		rec, _, err := recording.Load(bytes.NewReader(zipped(content)))
		if err != nil {
			return
		}
		rec.Calls()
		_, _, _ = rec.Registry()
	})
}
