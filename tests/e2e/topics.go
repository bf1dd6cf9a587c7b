package e2e

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

const (
	manyTopics = 2000
	// topicWorkers is the number of goroutines that register, call and deregister topics.
	topicWorkers = 16
	// keptHeap is the maximum heap growth, in bytes, after all topics have been deregistered. Some
	// growth is expected, because a conn remembers the servers of each topic for a while. Pools
	// have also grown, because topicWorkers goroutines made calls at the same time.
	keptHeap = manyTopics << 11
	// keptGoroutines is the maximum number of additional goroutines after all topics have been
	// deregistered. Some goroutines may not have ended yet.
	keptGoroutines = 50
)

// testManyTopics checks that a server can serve many topics at the same time. It also checks that
// the memory and the goroutines used for the topics are released when the topics are deregistered.
func testManyTopics(t *testing.T, network Network) {
	w := newWorld(t, network)
	registration := w.serve(w.server(), calls, dynamic.Handlers{"QueueTopics": shapes[0].unary()})
	conn := w.conn()
	eachTopic := func(f func(region, room string) error) {
		var workers sync.WaitGroup
		for first := range topicWorkers {
			// This goroutine ends before eachTopic returns.
			workers.Go(func() {
				for i := first; i < manyTopics; i += topicWorkers {
					if !assert.NoError(t, f("eu", fmt.Sprint("room-", i))) {
						return
					}
				}
			})
		}
		workers.Wait()
		require.False(t, t.Failed())
	}
	call := func(region, room string) error {
		_, err := dynamic.Invoke(t.Context(), conn, fullName(calls, "QueueTopics"), nil, dynamic.WithTopic(region, room))
		return err
	}
	require.NoError(t, registration.RegisterTopic("QueueTopics", "us", "first"))
	require.NoError(t, call("us", "first"), "a first call, so that lazy state exists before the measurement")

	goroutines, heap := measure()
	eachTopic(func(region, room string) error { return registration.RegisterTopic("QueueTopics", region, room) })
	eachTopic(call)
	goroutinesFull, heapFull := measure()
	eachTopic(func(region, room string) error { return registration.DeregisterTopic("QueueTopics", region, room) })
	goroutinesAfter, heapAfter := measure()

	t.Logf("goroutines: %d, %d with %d topics, %d after", goroutines, goroutinesFull, manyTopics, goroutinesAfter)
	t.Logf("heap: %d KiB, %d KiB with %d topics, %d KiB after", heap>>10, heapFull>>10, manyTopics, heapAfter>>10)
	assert.Less(t, goroutinesAfter, goroutines+keptGoroutines)
	assert.Less(t, heapAfter, heap+keptHeap)
	assert.Error(t, call("eu", "room-0"), "the topic is gone")
	assert.NoError(t, call("us", "first"))
	runtime.KeepAlive(conn)
}

// measure returns the number of goroutines and the number of heap bytes in use.
func measure() (goroutines int, heap uint64) {
	runtime.GC()
	// Objects in a sync.Pool survive the first garbage collection.
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return runtime.NumGoroutine(), stats.HeapAlloc
}
