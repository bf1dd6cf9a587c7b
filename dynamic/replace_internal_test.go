package dynamic

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

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// TestInbound_Replace acquires endpoints of many methods while the service is replaced and each old
// version is closed. An endpoint must always be available, and its version must never be older than
// that of the previous one.
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
	// version returns handlers whose concurrency limit is the number of the version. The test
	// reads the version of an endpoint from that limit.
	version := func(number int) Handlers {
		handlers := Handlers{}
		for i := range methods {
			handlers[fmt.Sprint("M", i)] = Raw(unimplementedCall, WithMaxConcurrent(number))
		}
		return handlers
	}
	server := NewServer(bus.NewLocal())
	defer server.Kill()
	r, err := server.Register(service, version(1))
	require.NoError(t, err)
	inbounds := make([]*inbound, 0, methods)
	for _, e := range r.currentEndpoints() {
		inbounds = append(inbounds, e.inbound)
	}

	var stop atomic.Bool
	var entering sync.WaitGroup
	for range 2 {
		entering.Go(func() {
			newest := int64(0)
			for i := 0; !stop.Load(); i++ {
				e, token := inbounds[i%methods].acquire()
				if !assert.NotNil(t, e, "no endpoint is open") {
					return
				}
				number := e.plan.handler.semaphore.Max
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
		next, err := r.Replace(service, version(number))
		require.NoError(t, err)
		require.NoError(t, r.Close(context.Background()))
		r = next
	}
}
