package serve

import (
	"log/slog"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// uncounted is a bus that does not count receivers, so that servers announce themselves.
type uncounted struct{ bus.Bus }

func (uncounted) CountsReceivers() bool { return false }

// A reannouncement may still hold a version that has been replaced. It must not announce a method
// that only this version has.
func TestService_ServesNothingOnceReplaced(t *testing.T) {
	t.Parallel()
	local := bus.NewLocal()
	e := New(Config{
		RawBus: uncounted{local}, ID: "server", Logger: slog.New(slog.DiscardHandler), Timeout: 30 * time.Second,
		AbandonAfter: time.Second,
	})
	t.Cleanup(func() {
		e.Kill()
		assert.NoError(t, local.Close())
	})
	version := func(methods string) *Service {
		t.Helper()
		reg := registry.New()
		require.NoError(t, reg.ParseProto(fstest.MapFS{"s.proto": {Data: []byte(`syntax = "proto3"; package s;
			import "options.proto"; import "google/protobuf/empty.proto"; service S {` + methods + `}`)}}, "s.proto"))
		service, _ := reg.Service("s.S")
		config := ServiceConfig{Descriptor: service, Handlers: map[string]*Handler{}}
		for _, method := range service.Methods() {
			config.Handlers[method.Name()] = &Handler{}
		}
		return e.NewService(config)
	}
	const kept = `rpc Kept(google.protobuf.Empty) returns (google.protobuf.Empty) { option (psrpc.options).type = MULTI; }`
	const removed = `rpc Removed(google.protobuf.Empty) returns (google.protobuf.Empty) { option (psrpc.options).type = MULTI; }`
	old, next := version(kept+removed), version(kept)
	require.NoError(t, e.Start(old))
	endpoints := old.currentEndpoints()
	require.Len(t, endpoints, 2)
	for _, endpoint := range endpoints {
		assert.True(t, old.serves(endpoint))
	}
	require.NoError(t, old.Replace(func() (*Service, error) { return next, nil }))
	for _, endpoint := range endpoints {
		assert.False(t, old.serves(endpoint), endpoint.name)
	}
	for _, endpoint := range next.currentEndpoints() {
		assert.True(t, next.serves(endpoint))
	}
}
