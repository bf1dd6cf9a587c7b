package lifecycle

import (
	"math"
	"sync"
	"sync/atomic"
)

// gateClosed is the sign bit of a gate's state. The other bits count the operations in flight.
const gateClosed = math.MinInt64

// Gate counts operations in flight until it is closed. Counter and closed flag share one atomic
// word, so every Enter and Leave writes to the same cache line; [InFlight] avoids that under
// contention.
//
// All methods may be called concurrently and none of them blocks. Use [NewGate] to create one.
type Gate struct {
	state   atomic.Int64
	once    sync.Once
	drained chan struct{}
}

// NewGate returns an open gate.
func NewGate() *Gate {
	return &Gate{drained: make(chan struct{})}
}

// Enter starts an operation and returns true if the gate is open. The caller must then call Leave
// when the operation has ended. Enter returns false if the gate is closed.
func (g *Gate) Enter() bool {
	if g.state.Add(1) > 0 {
		return true
	}
	g.Leave()
	return false
}

// Leave ends an operation that a successful Enter started.
func (g *Gate) Leave() {
	if g.state.Add(-1) == gateClosed {
		g.once.Do(func() { close(g.drained) })
	}
}

// Close makes further calls of Enter fail. It returns a channel that is closed when no operation is
// in flight. Later calls return the same channel.
func (g *Gate) Close() <-chan struct{} {
	if g.state.Or(gateClosed) == 0 {
		g.once.Do(func() { close(g.drained) })
	}
	return g.drained
}
