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

// TestIntake_HandOver lets many goroutines bring frames to two methods while their versions replace each other and are
// closed at once: a frame always finds a version, and after one of them none finds an older one at the other method.
func TestIntake_HandOver(t *testing.T) {
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
	version := func(number int) Handlers { // by its limit a listener tells what version it is of
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
	intakes := make([]*inbound, 0, methods)
	for _, l := range r.currentEndpoints() {
		intakes = append(intakes, l.inbound)
	}

	var stop atomic.Bool
	var entering sync.WaitGroup
	for range 2 {
		entering.Go(func() {
			newest := int64(0)
			for i := 0; !stop.Load(); i++ {
				l, place := intakes[i%methods].enter()
				if !assert.NotNil(t, l, "nobody takes it") {
					return
				}
				number := l.plan.handler.semaphore.Max
				l.inFlight.Leave(place)
				if !assert.GreaterOrEqual(t, number, newest) {
					return
				}
				newest = number
				if i%methods == 0 {
					runtime.Gosched() // to those who replace it
				}
			}
		})
	}
	defer entering.Wait()
	defer stop.Store(true)
	for number := 2; number < 1000 && !t.Failed(); number++ {
		next, err := r.Replace(service, version(number))
		require.NoError(t, err)
		require.NoError(t, r.Close(context.Background()))
		r = next
	}
}
