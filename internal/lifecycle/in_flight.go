package lifecycle

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

// InFlight counts operations in flight until it is closed, as a [Gate] does, for operations that
// many processors run at once. It starts with a single counter. When two goroutines contend for
// that counter InFlight allocates one counter per shard, so that each processor writes to a cache
// line of its own.
//
// The zero value is open. All methods may be called concurrently and none of them blocks.
type InFlight struct {
	closed atomic.Bool
	// single counts the operations that started before the first contention.
	single Token
	// sharded counts the operations that started later. It is nil until the first contention.
	sharded atomic.Pointer[[shard.Count]paddedCounter]

	mu sync.Mutex
	// drained is created by the first Close, and closed when no operation is in flight.
	drained       chan struct{}
	drainedClosed bool
}

// Token identifies the counter in which Enter counted an operation.
type Token struct{ count atomic.Int64 }

// paddedCounter is a Token that has a cache line of its own.
type paddedCounter struct {
	Token

	_ [shard.CacheLineSize - 8]byte
}

// Enter starts an operation. It returns a token, with which the caller must call Leave when the
// operation has ended, or nil if f is closed.
func (f *InFlight) Enter() *Token {
	// The order matters: count first, then look at closed. A Close that follows the look finds the
	// operation counted, and a Close that precedes it makes Enter fail.
	token := f.increment()
	if !f.closed.Load() {
		return token
	}
	f.Leave(token)
	return nil
}

// increment counts an operation and returns the counter that it used.
func (f *InFlight) increment() *Token {
	sharded := f.sharded.Load()
	if sharded == nil {
		count := f.single.count.Load()
		if f.single.count.CompareAndSwap(count, count+1) {
			return &f.single
		}
		// The swap fails only if another goroutine wrote to the counter in between: contention.
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

// Close makes further calls of Enter fail. It returns a channel that is closed when no operation is
// in flight. Later calls return the same channel.
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

// closeIfDrained closes drained if no operation is in flight. f must be closed.
//
// The counters are read one after the other, without a lock. That is enough: after a counter was
// read as zero only calls of Enter that fail, because f is closed, increment it again.
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
