package dynamic_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/dynamictest"
)

// TestFaults_Calls checks that no call fails on a bus that delays, duplicates and reorders frames,
// and that each request is handled once.
func TestFaults_Calls(t *testing.T) {
	t.Parallel()
	const callers, calls = 8, 10
	service := descriptor(t, newRegistry(t), "test.Echoes")
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			b := bustest.NewFaultBus(bus.NewLocal(), seed, bustest.Faults{
				Duplicate: 0.3, Reorder: 0.3, Delay: time.Millisecond, Jitter: 50 * time.Millisecond,
			})
			var handled atomic.Int64
			handle := func(_ context.Context, request text) (text, error) {
				handled.Add(1)
				return request, nil
			}
			affinity := dynamic.WithAffinity(func(context.Context, text) float32 { return 0.5 })
			conn := dynamictest.Serve(t, service, dynamic.Handlers{
				"Echo": dynamic.Unary(handle), "Direct": dynamic.Unary(handle), "Best": dynamic.Unary(handle, affinity),
			}, dynamictest.WithBus(b))
			methods := []string{echo, direct, best}
			var running sync.WaitGroup
			for _, method := range methods {
				client := textClient(t, conn, method)
				for caller := range callers {
					running.Go(func() {
						for call := range calls {
							request := say(fmt.Sprint(caller, call))
							response, err := client.Call(t.Context(), request)
							if assert.NoError(t, err, "seed %d, %s", seed, method) {
								assert.Equal(t, request.GetValue(), response.GetValue())
							}
						}
					})
				}
			}
			running.Wait()
			<-time.After(time.Second) // until late duplicates have arrived
			assert.EqualValues(t, len(methods)*callers*calls, handled.Load(), "seed %d", seed)
			assert.NotZero(t, b.Counts().Duplicated)
			assert.NotZero(t, b.Counts().Reordered)
		})
	}
}

// TestFaults_MultiCalls checks multi calls over a bus that delays, duplicates and reorders frames.
// A multi call must return one response from each server and end long before its timeout.
func TestFaults_MultiCalls(t *testing.T) {
	t.Parallel()
	fleet := descriptor(t, newRegistry(t, kindsSource), "kinds.Fleet")
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			b := bustest.NewFaultBus(bus.NewLocal(), seed, bustest.Faults{
				Duplicate: 0.3, Reorder: 0.3, Delay: time.Millisecond, Jitter: 50 * time.Millisecond,
			})
			handlers := dynamic.Handlers{"All": identity[text]()}
			f := dynamictest.New(t, fleet, handlers, dynamictest.WithBus(b))
			f.AddServer(handlers)
			f.AddServer(handlers)
			client := textClient(t, f.Conn, "kinds.Fleet/All")
			for range 20 {
				start := time.Now()
				var servers []string
				for response := range client.Responses(t.Context(), say("hi")) {
					require.NoError(t, response.Err, "seed %d", seed)
					servers = append(servers, response.ServerID)
				}
				assert.ElementsMatch(t, []string{"SRV_test1", "SRV_test2", "SRV_test3"}, servers, "seed %d", seed)
				assert.Less(t, time.Since(start), 200*time.Millisecond, "seed %d", seed)
			}
		})
	}
}

// TestFaults_Streams checks that each message arrives once and in order over a bus which delays and
// duplicates frames.
func TestFaults_Streams(t *testing.T) {
	t.Parallel()
	const messages = 50
	service := descriptor(t, newRegistry(t, streamSource), "streams.Flows")
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			b := bustest.NewFaultBus(bus.NewLocal(), seed, bustest.Faults{
				Duplicate: 0.3, Delay: time.Millisecond, Jitter: 50 * time.Millisecond,
			})
			conn := dynamictest.Serve(t, service, dynamic.Handlers{"Flow": dynamic.Stream(echoFlow)}, dynamictest.WithBus(b))
			for _, window := range []int{0, 10} {
				stream, err := textClient(t, conn, flow).OpenStream(t.Context(), dynamic.WithStreamWindow(window))
				require.NoError(t, err, "seed %d", seed)
				for i := range messages {
					require.NoError(t, stream.Send(say(fmt.Sprint(i))), "seed %d", seed)
				}
				for i := range messages {
					requireText(t, fmt.Sprint(i), stream.Channel())
				}
				require.NoError(t, stream.Close(nil))
			}
		})
	}
}
