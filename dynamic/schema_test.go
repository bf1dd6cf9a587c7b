package dynamic_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/dynamictest"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// schemaRegistry returns a registry with the services of one .proto source.
func schemaRegistry(t *testing.T, source string) *registry.Registry {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"a.proto": {Data: []byte(source)}}, "a.proto"))
	return reg
}

// patientConns gives the conns of a fixture long timeouts.
var patientConns = dynamictest.WithConnOptions(patient...)

func TestSchema_RegisteredMessageWinsOverLinkedType(t *testing.T) {
	t.Parallel()
	reg := schemaRegistry(t, `syntax = "proto3"; package google.protobuf;
		message Duration { int64 seconds = 1; int32 nanos = 2; string zone = 3; }
		service Clock { rpc Echo(Duration) returns (Duration); }`)
	clock, _ := reg.Service("google.protobuf.Clock")
	conn := dynamictest.Serve(t, clock, dynamic.Handlers{
		"Echo": dynamic.Unary(func(_ context.Context, request proto.Message) (proto.Message, error) {
			assert.IsType(t, (*dynamicpb.Message)(nil), request)
			return request, nil
		})}, patientConns)
	response, err := dynamic.Invoke(t.Context(), conn, "google.protobuf.Clock/Echo", nil)
	require.NoError(t, err)
	zone := response.ProtoReflect().Descriptor().Fields().ByName("zone")
	assert.NotNil(t, zone, "the response has the registered schema")
}

func TestSchema_ExtensionsOfTheRegistryArrive(t *testing.T) {
	t.Parallel()
	reg := schemaRegistry(t, `syntax = "proto2"; package ext;
		message Box { optional Order order = 1; }
		message Order { optional string id = 1; extensions 100 to 200; }
		message Scope { extend Order { optional Order inner = 101; } }
		extend Order { optional string note = 100; repeated int32 marks = 102; }
		service Orders { rpc Put(Box) returns (Box); }`)
	orders, _ := reg.Service("ext.Orders")
	const box = `{"order": {"id": "7", "[ext.note]": "a", "[ext.Scope.inner]": {"[ext.note]": "b"}, "[ext.marks]": [1, 2]}}`
	for label, handler := range map[string]dynamic.Handler{
		"dynamic": dynamic.Unary(func(_ context.Context, r *dynamicpb.Message) (*dynamicpb.Message, error) {
			text, err := protojson.MarshalOptions{Resolver: orders}.Marshal(r)
			assert.JSONEq(t, box, string(text), "what the handler sees")
			return r, err
		}),
		"any message": dynamic.Unary(func(_ context.Context, r proto.Message) (proto.Message, error) {
			text, err := protojson.MarshalOptions{Resolver: orders}.Marshal(r)
			assert.JSONEq(t, box, string(text), "what the handler sees")
			return r, err
		}),
	} {
		conn := dynamictest.Serve(t, orders, dynamic.Handlers{"Put": handler}, dynamictest.WithRegistry(reg), patientConns)
		response, err := dynamic.Invoke(t.Context(), conn, "ext.Orders/Put", json.RawMessage(box))
		require.NoError(t, err, label)
		text, err := protojson.MarshalOptions{Resolver: reg}.Marshal(response)
		require.NoError(t, err, label)
		assert.JSONEq(t, box, string(text), label)
	}
}

func TestSchema_CallOfAGRPCServiceSaysSo(t *testing.T) {
	t.Parallel()
	reg := registry.New(registry.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, reg.ParseProto(fstest.MapFS{"a.proto": {Data: []byte(`syntax = "proto3"; package mix; message M {}
		service Room { rpc Do(M) returns (M); } service Health { rpc Watch(M) returns (stream M); }`)}}, "a.proto"))
	conn, err := dynamic.NewConn(bus.NewLocal(), reg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	for _, name := range []string{"mix.Health/Watch", "/mix.Health/Watch", "mix.Health.Watch"} {
		_, err = dynamic.Invoke(t.Context(), conn, name, nil)
		requireCode(t, errors.Unimplemented, err)
		require.ErrorContains(t, err, "mix.Health: it is a gRPC service", name)
	}
	_, err = dynamic.Invoke(t.Context(), conn, "mix.HealthCheck/Watch", nil)
	assert.NotContains(t, err.Error(), "gRPC")
}

// echoConn serves a service whose method Do sends back the request. It returns a conn to the
// server.
func echoConn[M proto.Message](t *testing.T, reg *registry.Registry, service string) *dynamic.Conn {
	t.Helper()
	described, ok := reg.Service(service)
	require.True(t, ok)
	return dynamictest.Serve(t, described, dynamic.Handlers{"Do": dynamic.Unary(
		func(_ context.Context, request M) (M, error) {
			assert.Empty(t, request.ProtoReflect().GetUnknown())
			return request, nil
		})}, dynamictest.WithRegistry(reg), patientConns)
}

func TestSchema_ExtensionsOfALinkedMessage(t *testing.T) {
	t.Parallel()
	reg := schemaRegistry(t, `syntax = "proto2"; package a; import "google/protobuf/descriptor.proto";
		message In { optional string s = 1; }
		extend google.protobuf.FieldOptions { optional In x = 50000; optional string y = 50001; }
		service S { rpc Do(google.protobuf.FieldOptions) returns (google.protobuf.FieldOptions); }`)
	conn := echoConn[*descriptorpb.FieldOptions](t, reg, "a.S")
	const want = `{"[a.x]": {"s": "x"}, "[a.y]": "y", "packed": true}`
	response, err := dynamic.Invoke(t.Context(), conn, "a.S/Do", json.RawMessage(want))
	require.NoError(t, err)
	assert.IsType(t, &descriptorpb.FieldOptions{}, response)
	text, err := protojson.MarshalOptions{Resolver: reg}.Marshal(response)
	require.NoError(t, err)
	assert.JSONEq(t, want, string(text))
}

func TestSchema_AnyIsOfTheServicesOwnVersion(t *testing.T) {
	t.Parallel()
	reg := registry.New()
	for _, name := range []string{"A", "B"} {
		require.NoError(t, reg.ParseProto(fstest.MapFS{
			"s.proto": {Data: []byte(`syntax = "proto3"; import "shared.proto"; import "google/protobuf/any.proto";
				message Req` + name + ` { google.protobuf.Any any = 1; } service ` + name + ` { rpc Do(Req` + name + `) returns (Req` + name + `); }`)},
			"shared.proto": {Data: []byte(`syntax = "proto3"; message Shared { int32 of_` + name + ` = 1; }`)},
		}, "s.proto"))
		conn := echoConn[*dynamicpb.Message](t, reg, name)
		service, _ := reg.Service(name)
		want := `{"any": {"@type": "x/Shared", "of` + name + `": 7}}`
		for _, request := range []any{json.RawMessage(want), map[string]any{"any": map[string]any{"@type": "x/Shared", "of" + name: 7}}} {
			response, err := dynamic.Invoke(t.Context(), conn, name+"/Do", request)
			require.NoError(t, err)
			text, err := protojson.MarshalOptions{Resolver: service}.Marshal(response)
			require.NoError(t, err)
			assert.JSONEq(t, want, string(text))
		}
	}
}

func TestSchema_EditionsFromSourcesAreEnforced(t *testing.T) {
	t.Parallel()
	reg := schemaRegistry(t, `edition = "2023"; package ed;
		message M { string s = 1 [features.field_presence = LEGACY_REQUIRED]; string t = 2; }
		service S { rpc Do(M) returns (M); }`)
	loose := schemaRegistry(t, `syntax = "proto3"; package ed; message M { optional bytes s = 1; bytes t = 2; } service S { rpc Do(M) returns (M); }`)
	for label, request := range map[string]string{"required": `{"t": "aGk="}`, "UTF-8": `{"s": "aGk=", "t": "/w=="}`} {
		described, _ := reg.Service("ed.S")
		for kind, handler := range map[string]dynamic.Handler{
			"dynamic":     dynamic.Unary(func(_ context.Context, r *dynamicpb.Message) (*dynamicpb.Message, error) { return r, nil }),
			"any message": dynamic.Unary(func(_ context.Context, r proto.Message) (proto.Message, error) { return r, nil }),
		} {
			conn := dynamictest.Serve(t, described, dynamic.Handlers{"Do": handler}, dynamictest.WithRegistry(loose), patientConns)
			_, err := dynamic.Invoke(t.Context(), conn, "ed.S/Do", json.RawMessage(request))
			requireCode(t, errors.MalformedRequest, err)
			_, err = dynamic.Invoke(t.Context(), conn, "ed.S/Do", json.RawMessage(`{"s": "aGk="}`))
			require.NoError(t, err, "%s, %s", label, kind)
		}
	}
}
