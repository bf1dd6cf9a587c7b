package chaos

import (
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

const (
	churnedTopics = 1_500
	// fewGoroutines is the maximum number of additional goroutines. Servers and conns keep idle
	// workers, whose number grows if the machine is busy. The buses and the test also run some
	// goroutines from time to time.
	fewGoroutines = 200
	// heapGrowth is the maximum heap growth in bytes: 1 MiB for pools and buffers, and less than 1 KiB
	// for each topic, because a conn remembers the servers of the latest topics. A topic that is in
	// use needs more than 3 KiB.
	heapGrowth = 1<<20 + churnedTopics<<10
)

// Many topics are registered and deregistered on a server, and many subscriptions are opened and
// closed. The memory and the goroutines that they use must be released. The test does not run in
// parallel with others, because it counts goroutines and heap bytes.
func TestChurn_LeavesNothing(t *testing.T) {
	for _, on := range []func(testing.TB) testkit.Network{testkit.OnRedis, testkit.OnNATS} {
		network := on(t)
		t.Run(network.Name, func(t *testing.T) {
			_, registration := testkit.Serve(t, network.Connect(t), dynamic.Handlers{"MoveRegion": dynamic.Unary(testkit.Echo)})
			conn := testkit.Conn(t, network.Connect(t))
			subscriber, caller := testkit.Subscriber(t, conn, "UpdateRegionState"), testkit.Caller(t, conn, "MoveRegion")
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
			repeat(t, 500, churn) // let pools grow before the first measurement
			goroutines, heap := census()
			repeat(t, scaled(churnedTopics), churn)
			if !assert.Eventually(t, func() bool { return runtime.NumGoroutine() < goroutines+fewGoroutines }, testkit.Patience, time.Millisecond) {
				var running strings.Builder
				assert.NoError(t, pprof.Lookup("goroutine").WriteTo(&running, 1))
				t.Fatalf("of %d goroutines before, %d have become:\n%s", goroutines, runtime.NumGoroutine(), &running)
			}
			_, after := census()
			t.Logf("%d goroutines; heap of %d KiB before, %d KiB after", goroutines, heap>>10, after>>10)
			assert.Less(t, after, heap+heapGrowth)
		})
	}
}

// census returns the number of goroutines and the number of heap bytes in use.
func census() (goroutines int, heap uint64) {
	runtime.GC()
	runtime.GC() // objects in a sync.Pool survive the first garbage collection
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return runtime.NumGoroutine(), memory.HeapAlloc
}
