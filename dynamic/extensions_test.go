package dynamic_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// extendedOrder contains extensions from the service's own file and from the file of another
// service. They occur at the top level and inside fields, lists, maps and other extensions.
const extendedOrder = `{
	"order": {"id": "7", "[ext.note]": "a", "[ext.Scope.inner]": {"[other.mark]": 5, "[ext.note]": "b"}, "[other.mark]": 4},
	"orders": [{"[ext.note]": "c"}, {"[other.mark]": 3}], "byName": {"x": {"[ext.Scope.inner]": {"id": "8"}}}, "[other.box]": {"[ext.note]": "d"}}`

func extendedRegistry(t *testing.T) (*registry.Registry, *registry.Service) {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{
		"orders.proto": {Data: []byte(`syntax = "proto2"; package ext; import "options.proto"; import "types.proto";
			message Scope { extend Order { optional Order inner = 101; } } extend Order { optional string note = 100; }
			service Orders {
			  rpc Put(Box) returns (Box);
			  rpc Best(Box) returns (Box) { option (psrpc.options).type = AFFINITY; }
			  rpc All(Box) returns (Box) { option (psrpc.options).type = MULTI; }
			  rpc Flow(Box) returns (Box) { option (psrpc.options).stream = true; }
			  rpc News(Box) returns (Box) { option (psrpc.options) = { subscription: true type: MULTI }; }
			}`)},
		"types.proto": {Data: []byte(`syntax = "proto2"; package ext;
			message Box { optional Order order = 1; repeated Order orders = 2; map<string, Order> by_name = 3; extensions 100; }
			message Order { optional string id = 1; extensions 100 to 200; }`)},
		"other.proto": {Data: []byte(`syntax = "proto2"; package other; import "types.proto";
			extend ext.Order { optional int32 mark = 150; } extend ext.Box { optional ext.Order box = 100; }
			service Others { rpc Do(ext.Order) returns (ext.Order); }`)},
	}, "orders.proto", "other.proto"))
	orders, _ := reg.Service("ext.Orders")
	return reg, orders
}

// checkExtended checks that a received message still contains all extensions, and that none of them
// has become an unknown field.
func checkExtended(t *testing.T, label string, reg *registry.Registry, got proto.Message) {
	t.Helper()
	text, err := protojson.MarshalOptions{Resolver: reg}.Marshal(got)
	require.NoError(t, err, label)
	assert.JSONEq(t, extendedOrder, string(text), label)
}

func TestExtensions_OfTheRegistryArriveOnEveryPath(t *testing.T) {
	t.Parallel()
	t.Run("dynamic messages", func(t *testing.T) { t.Parallel(); extensionsArrive[*dynamicpb.Message](t) })
	t.Run("any messages", func(t *testing.T) { t.Parallel(); extensionsArrive[proto.Message](t) })
}

func extensionsArrive[M proto.Message](t *testing.T) {
	reg, orders := extendedRegistry(t)
	see := func(label string, m proto.Message) { checkExtended(t, label, reg, m) }
	echo := func(_ context.Context, r M) (M, error) { see("handler", r); return r, nil }
	b := bus.NewLocal()
	intercepted := func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
		see("interceptor of the server", request)
		return next(ctx, request)
	}
	server := dynamic.NewServer(b, dynamic.WithServerRPCInterceptors(intercepted))
	t.Cleanup(func() { server.Kill() })
	registration, err := server.Register(orders, dynamic.Handlers{
		"Put": dynamic.Unary(echo), "All": dynamic.Unary(echo),
		"Best": dynamic.Unary(echo, dynamic.WithAffinity(func(_ context.Context, r M) float32 { see("affinity", r); return 1 })),
		"Flow": dynamic.Stream(func(stream dynamic.ServerStream[M, M]) error {
			for m := range stream.Channel() {
				see("stream of the server", m)
				if err := stream.Send(m); err != nil {
					return err
				}
			}
			return nil
		}),
	})
	require.NoError(t, err)
	seen := func(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
		return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
			response, err := next(ctx, request, opts...)
			if err == nil {
				see("interceptor of the client", response)
			}
			return response, err
		}
	}
	for label, opts := range map[string][]dynamic.ConnOption{
		"plain": {patientConn}, "intercepted": {patientConn, dynamic.WithClientRPCInterceptors(seen)},
	} {
		conn, err := dynamic.NewConn(b, reg, opts...)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, conn.Close()) })
		request := boxOf[M](t, orders)
		for _, method := range []string{"Put", "Best"} {
			response, err := client[M](t, conn, method).Call(t.Context(), request)
			require.NoError(t, err)
			see(label+" Call", response)
			invoked, err := dynamic.Invoke(t.Context(), conn, "ext.Orders/"+method, json.RawMessage(extendedOrder))
			require.NoError(t, err)
			see(label+" Invoke", invoked)
		}
		responses, err := client[M](t, conn, "All").CallMulti(t.Context(), request)
		require.NoError(t, err)
		for response := range responses {
			require.NoError(t, response.Err)
			see(label+" CallMulti", response.Result)
		}
		stream, err := client[M](t, conn, "Flow").OpenStream(t.Context())
		require.NoError(t, err)
		require.NoError(t, stream.Send(request))
		see(label+" stream of the client", <-stream.Channel())
		require.NoError(t, stream.Close(nil))
		updates, err := client[M](t, conn, "News").Subscribe(t.Context())
		require.NoError(t, err)
		require.NoError(t, registration.Publish(t.Context(), "News", request))
		see(label+" update of a server", <-updates.Channel())
		require.NoError(t, dynamic.Publish(t.Context(), conn, "ext.Orders/News", json.RawMessage(extendedOrder)))
		see(label+" update of a conn", <-updates.Channel())
		require.NoError(t, updates.Close())
	}
}

func client[M proto.Message](t *testing.T, conn *dynamic.Conn, method string) *dynamic.Client[M, M] {
	t.Helper()
	c, err := dynamic.NewClient[M, M](conn, "ext.Orders/"+method)
	require.NoError(t, err)
	return c
}

func boxOf[M proto.Message](t *testing.T, orders *registry.Service) M {
	t.Helper()
	method, _ := orders.Method("Put")
	box := dynamicpb.NewMessage(method.Input())
	require.NoError(t, protojson.UnmarshalOptions{Resolver: orders}.Unmarshal([]byte(extendedOrder), box))
	return proto.Message(box).(M)
}
