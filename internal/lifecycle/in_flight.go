package lifecycle

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

// InFlight is a [Gate] for many processors at once: when it is found to be crowded, each counts by itself. Its zero value
// is open. All methods may be called together from many goroutines; none of them blocks.
type InFlight struct {
	closed        atomic.Bool
	single        Token                                      // where those are who came before it was crowded
	sharded       atomic.Pointer[[shard.Count]paddedCounter] // nil until it was
	mu            sync.Mutex
	drained       chan struct{} // made by the first Close
	drainedClosed bool          // empty is closed
}

// Token is where somebody is who has entered a [InFlight].
type Token struct{ count atomic.Int64 }

type paddedCounter struct {
	Token

	_ [shard.CacheLineSize - 8]byte // processors do not share one
}

// Enter returns the caller's place until it calls Leave with that, or nil if the gate is closed.
func (g *InFlight) Enter() *Token {
	token := g.increment()
	if !g.closed.Load() { // whoever closes it from now on finds the caller inside
		return token
	}
	g.Leave(token)
	return nil
}

func (g *InFlight) increment() *Token {
	sharded := g.sharded.Load()
	if sharded == nil {
		count := g.single.count.Load()
		if g.single.count.CompareAndSwap(count, count+1) {
			return &g.single
		}
		g.sharded.CompareAndSwap(nil, new([shard.Count]paddedCounter)) // somebody else was there at the same moment
		sharded = g.sharded.Load()
	}
	token := &sharded[shard.Current()].Token
	token.count.Add(1)
	return token
}

// Leave undoes the Enter that returned place.
func (g *InFlight) Leave(token *Token) {
	if token.count.Add(-1) == 0 && g.closed.Load() {
		g.closeIfDrained()
	}
}

// Close keeps newcomers out, and returns a channel that is closed when the last one inside has left. Later calls return
// the same channel.
func (g *InFlight) Close() <-chan struct{} {
	g.mu.Lock()
	if g.drained == nil {
		g.drained = make(chan struct{})
	}
	g.mu.Unlock()
	g.closed.Store(true)
	g.closeIfDrained()
	return g.drained
}

// closeIfDrained closes empty if nobody is inside. The gate is closed: a place that was found empty is entered only by those who
// will find that out and leave, so looking at one place after the other is enough.
func (g *InFlight) closeIfDrained() {
	if g.single.count.Load() != 0 {
		return
	}
	if sharded := g.sharded.Load(); sharded != nil {
		for i := range sharded {
			if sharded[i].count.Load() != 0 {
				return
			}
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.drainedClosed {
		g.drainedClosed = true
		close(g.drained)
	}
}
