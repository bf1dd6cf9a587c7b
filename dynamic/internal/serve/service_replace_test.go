package serve

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// TestInbound_Replace acquires endpoints of many methods while the service is replaced and each old
// version is closed. An endpoint must always be available. Its version must never be older than the
// version of the endpoint that was acquired before it.
func TestInbound_Replace(t *testing.T) {
	t.Parallel()
	const methods = 20
	var source strings.Builder
	source.WriteString(`syntax = "proto3"; package wide; import "google/protobuf/wrappers.proto"; service Wide {`)
	for i := range methods {
		fmt.Fprintf(&source, "rpc M%d(google.protobuf.StringValue) returns (google.protobuf.StringValue);", i)
	}
	source.WriteString("}")
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"wide.proto": {Data: []byte(source.String())}}, "wide.proto"))
	service, _ := reg.Service("wide.Wide")
	engine := newTestEngine(t)
	// version returns a service whose handlers have the number of the version as their limit. The
	// test reads the version of an endpoint from that limit.
	version := func(number int) *Service {
		config := ServiceConfig{Descriptor: service, Handlers: map[string]*Handler{}}
		for i := range methods {
			config.Handlers[fmt.Sprint("M", i)] = &Handler{MaxConcurrent: number}
		}
		return engine.NewService(config)
	}
	current := version(1)
	require.NoError(t, engine.Start(current))
	inbounds := make([]*inbound, 0, methods)
	for _, e := range current.currentEndpoints() {
		inbounds = append(inbounds, e.inbound)
	}

	var stop atomic.Bool
	var entering sync.WaitGroup
	for range 2 {
		entering.Go(func() {
			newest := 0
			for i := 0; !stop.Load(); i++ {
				e, token := inbounds[i%methods].acquire()
				if !assert.NotNil(t, e, "no endpoint is open") {
					return
				}
				number := e.plan.handler.MaxConcurrent
				e.inFlight.Leave(token)
				if !assert.GreaterOrEqual(t, number, newest) {
					return
				}
				newest = number
				if i%methods == 0 {
					runtime.Gosched() // gives Replace a chance to run
				}
			}
		})
	}
	defer entering.Wait()
	defer stop.Store(true)
	for number := 2; number < 300 && !t.Failed(); number++ {
		next := version(number)
		require.NoError(t, current.Replace(func() (*Service, error) { return next, nil }))
		require.NoError(t, current.Close(context.Background()))
		current = next
	}
}
