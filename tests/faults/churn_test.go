package faults

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/faults/scene"
)

const (
	churnedTopics = 10_000
	fewGoroutines = 10      // may be left: some do what the bus does now and then, some belong to the test
	heapGrowth    = 4 << 20 // bytes that may be left, for pools and buffers that have grown
)

// Topics that come and go, at a server and at a subscriber, leave nothing behind.
func TestChurn_LeavesNothing(t *testing.T) { // alone: it counts goroutines and bytes
	for _, on := range []func(testing.TB) scene.Network{scene.OnRedis, scene.OnNATS} {
		network := on(t)
		t.Run(network.Name, func(t *testing.T) {
			_, registration := scene.Serve(t, network.Connect(t), dynamic.Handlers{"MoveRegion": dynamic.Unary(scene.Echo)})
			conn := scene.Conn(t, network.Connect(t))
			subscriber, caller := scene.Subscriber(t, conn, "UpdateRegionState"), scene.Caller(t, conn, "MoveRegion")
			churn := func(i int) error {
				topic := fmt.Sprintf("region-%d", i)
				if err := registration.RegisterTopic("MoveRegion", topic); err != nil {
					return err
				}
				if _, err := caller.Topic(topic).Call(context.Background(), &api.MyRequest{}); err != nil {
					return err
				}
				if err := registration.DeregisterTopic("MoveRegion", topic); err != nil {
					return err
				}
				return subscribeAndPublish(subscriber, registration, topic)
			}
			repeat(t, 500, churn) // lets pools grow
			goroutines, heap := census()
			repeat(t, scaled(churnedTopics), churn)
			scene.Eventually(t, func() bool { return runtime.NumGoroutine() < goroutines+fewGoroutines }, "goroutines end")
			_, after := census()
			t.Logf("%d goroutines; heap of %d KiB before, %d KiB after", goroutines, heap>>10, after>>10)
			assert.Less(t, after, heap+heapGrowth)
		})
	}
}

// census returns the number of goroutines and the bytes on the heap.
func census() (goroutines int, heap uint64) {
	runtime.GC()
	runtime.GC() // what pools held is gone after the second one
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return runtime.NumGoroutine(), memory.HeapAlloc
}
