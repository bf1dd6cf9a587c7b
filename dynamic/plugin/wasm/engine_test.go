package wasm

import (
	"context"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

type textMessage = *wrapperspb.StringValue

const protoSource = `
	syntax = "proto3";
	package test;
	import "google/protobuf/wrappers.proto";
	service Proto {
		rpc Echo(google.protobuf.StringValue) returns (google.protobuf.StringValue);
		rpc Refuse(google.protobuf.StringValue) returns (google.protobuf.StringValue);
	}
	service Bytes {
		rpc Echo(google.protobuf.StringValue) returns (google.protobuf.StringValue);
	}
`

// engine is a server and a conn on an in-process bus.
type engine struct {
	registry *registry.Registry
	server   *dynamic.Server
	conn     *dynamic.Conn
}

func newEngine(t testing.TB) *engine {
	t.Helper()
	e := &engine{registry: registry.New()}
	require.NoError(t, e.registry.ParseProto(fstest.MapFS{"test.proto": {Data: []byte(protoSource)}}, "test.proto"))
	b := bus.NewLocal()
	e.server = dynamic.NewServer(b)
	var err error
	e.conn, err = dynamic.NewConn(b, e.registry, dynamic.WithClientTimeout(time.Minute), dynamic.WithSelectionTimeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, e.conn.Close())
		require.NoError(t, e.server.Shutdown(context.Background()))
		require.NoError(t, b.Close())
	})
	return e
}

// serve loads a module and registers its handlers for a service.
func (e *engine) serve(t testing.TB, content []byte, service string) {
	t.Helper()
	s, ok := e.registry.Service(service)
	require.True(t, ok)
	loader, _ := newTestLoader(t)
	loaded, err := loader.Load(t.Context(), &plugin.Source{Content: content, Services: []*registry.Service{s}}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, loaded.Close(context.Background())) })
	for _, service := range loaded.Services() {
		registration, err := e.server.Register(service.Descriptor, service.Handlers, service.Options...)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, registration.Close(context.Background())) })
	}
}

func (e *engine) client(t testing.TB, method string) *dynamic.Client[textMessage, textMessage] {
	t.Helper()
	client, err := dynamic.NewClient[textMessage, textMessage](e.conn, method)
	require.NoError(t, err)
	return client
}

func TestEngine_CallsCodeWithMessages(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.serve(t, protoGuest(t), "test.Proto")
	response, err := e.client(t, "test.Proto/Echo").Call(t.Context(), wrapperspb.String("Ada"), dynamic.WithRequestTimeout(time.Minute))
	require.NoError(t, err)
	assert.Equal(t, "Ada", response.GetValue())

	_, err = e.client(t, "test.Proto/Refuse").Call(t.Context(), wrapperspb.String("Ada"), dynamic.WithRequestTimeout(time.Minute))
	coded := requireCode(t, errors.FailedPrecondition, err)
	assert.Equal(t, "not this one", coded.Error())
	require.Len(t, coded.Details(), 1)
	assert.Equal(t, "Ada", coded.Details()[0].(textMessage).GetValue())
}

func TestEngine_CallsCodePutTogetherByHand(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.serve(t, echoModule().encode(), "test.Bytes")
	response, err := e.client(t, "test.Bytes/Echo").Call(t.Context(), wrapperspb.String("Ada"))
	require.NoError(t, err)
	assert.Equal(t, "Ada", response.GetValue())
}
