package lifecycle

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

// InFlight counts operations in flight. Once it is closed, no further operations can start. It has
// the same purpose as a [Gate], but is meant for operations that start on many CPUs at the same
// time. It starts with a single counter. When two goroutines contend for that counter, InFlight
// allocates several counters in different cache lines; see package shard.
//
// The zero value is open. All methods are safe for concurrent use, and none of them blocks.
type InFlight struct {
	closed atomic.Bool
	// single counts the operations that started before contention was first detected.
	single Token
	// sharded counts the operations that started after contention was first detected. It is nil
	// until contention is detected.
	sharded atomic.Pointer[[shard.Count]paddedCounter]

	mu sync.Mutex
	// drained is created by the first call to Close, and is closed once no operation is in flight.
	drained       chan struct{}
	drainedClosed bool
}

// Token is the counter that Enter incremented for an operation. Leave decrements the same counter.
type Token struct{ count atomic.Int64 }

// paddedCounter is a Token padded to occupy a cache line of its own.
type paddedCounter struct {
	Token

	_ [shard.CacheLineSize - 8]byte
}

// Enter starts an operation. It returns a token that the caller must pass to Leave when the
// operation has ended. Enter returns nil if f is closed.
func (f *InFlight) Enter() *Token {
	// The operation must be counted before f.closed is read. If Close is called after the read,
	// Close sees that the operation is in flight. If Close was called before the read, Enter fails.
	token := f.increment()
	if !f.closed.Load() {
		return token
	}
	f.Leave(token)
	return nil
}

// increment counts an operation and returns the counter that was incremented.
func (f *InFlight) increment() *Token {
	sharded := f.sharded.Load()
	if sharded == nil {
		count := f.single.count.Load()
		if f.single.count.CompareAndSwap(count, count+1) {
			return &f.single
		}
		// The swap fails only if another goroutine has written to the counter since it was read,
		// which means that there is contention.
		f.sharded.CompareAndSwap(nil, new([shard.Count]paddedCounter))
		sharded = f.sharded.Load()
	}
	token := &sharded[shard.Current()].Token
	token.count.Add(1)
	return token
}

// Leave ends the operation for which Enter returned token.
func (f *InFlight) Leave(token *Token) {
	if token.count.Add(-1) == 0 && f.closed.Load() {
		f.closeIfDrained()
	}
}

// Close makes subsequent calls to Enter fail. It returns a channel that is closed once no operation
// is in flight. Calling Close again returns the same channel.
func (f *InFlight) Close() <-chan struct{} {
	f.mu.Lock()
	if f.drained == nil {
		f.drained = make(chan struct{})
	}
	f.mu.Unlock()
	f.closed.Store(true)
	f.closeIfDrained()
	return f.drained
}

// closeIfDrained closes drained if no operation is in flight. It must be called only after f has
// been closed.
//
// The counters are read one after another without a lock. This is safe because f is closed. Once a
// counter has been read as zero, only calls to Enter that are going to fail can still increment it.
// Such calls decrement it again.
func (f *InFlight) closeIfDrained() {
	if f.single.count.Load() != 0 {
		return
	}
	if sharded := f.sharded.Load(); sharded != nil {
		for i := range sharded {
			if sharded[i].count.Load() != 0 {
				return
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.drainedClosed {
		f.drainedClosed = true
		close(f.drained)
	}
}
