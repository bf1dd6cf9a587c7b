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
	manyTopics = 1000
	// warmTopics is the number of topics used before the first measurement, so that pools and lazy
	// state exist.
	warmTopics = 200
	// topicWorkers is the number of goroutines that register, call and deregister topics.
	topicWorkers = 16
	// keptHeap is the maximum heap growth, in bytes, after all topics have been deregistered. Some
	// growth is expected, because a conn remembers the servers of the latest topics for a while. The
	// topics themselves need more than 3 KiB each.
	keptHeap = manyTopics * 5 / 2 << 10
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
	eachTopic := func(from, to int, f func(region, room string) error) {
		var workers sync.WaitGroup
		for first := range topicWorkers {
			// This goroutine ends before eachTopic returns.
			workers.Go(func() {
				for i := from + first; i < to; i += topicWorkers {
					if !assert.NoError(t, f("eu", fmt.Sprint("room-", i))) {
						return
					}
				}
			})
		}
		workers.Wait()
		require.False(t, t.Failed())
	}
	register := func(region, room string) error { return registration.RegisterTopic("QueueTopics", region, room) }
	deregister := func(region, room string) error { return registration.DeregisterTopic("QueueTopics", region, room) }
	call := func(region, room string) error {
		_, err := dynamic.Invoke(t.Context(), conn, fullName(calls, "QueueTopics"), nil, dynamic.WithTopic(region, room))
		return err
	}
	require.NoError(t, register("us", "first"))
	for _, warmUp := range []func(region, room string) error{register, call, deregister} {
		eachTopic(manyTopics, manyTopics+warmTopics, warmUp)
	}

	goroutines, heap := measure()
	eachTopic(0, manyTopics, register)
	eachTopic(0, manyTopics, call)
	goroutinesFull, heapFull := measure()
	eachTopic(0, manyTopics, deregister)
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
