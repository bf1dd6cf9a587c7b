package lifecycle

import (
	"math"
	"sync"
	"sync/atomic"
)

// gateClosed is the sign bit of a gate's state. It is set when the gate is closed. The other bits
// count the operations in flight.
const gateClosed = math.MinInt64

// Gate counts operations in flight. Once it is closed, no further operations can start. All calls
// to Enter and Leave write to the same atomic variable. If many CPUs call them at the same time,
// use an [InFlight] instead.
//
// All methods are safe for concurrent use, and none of them blocks. Use [NewGate] to create a Gate.
type Gate struct {
	state   atomic.Int64
	once    sync.Once
	drained chan struct{}
}

// NewGate returns an open gate.
func NewGate() *Gate {
	return &Gate{drained: make(chan struct{})}
}

// Enter starts an operation. If it returns true, the caller must call Leave when the operation has
// ended. It returns false if the gate is closed.
func (g *Gate) Enter() bool {
	if g.state.Add(1) > 0 {
		return true
	}
	g.Leave()
	return false
}

// Leave ends an operation that was started by a successful call to Enter.
func (g *Gate) Leave() {
	if g.state.Add(-1) == gateClosed {
		g.once.Do(func() { close(g.drained) })
	}
}

// Close makes subsequent calls to Enter fail. It returns a channel that is closed once no operation
// is in flight. Calling Close again returns the same channel.
func (g *Gate) Close() <-chan struct{} {
	// If the state was gateClosed, another call to Close has closed the gate, but may not have
	// closed g.drained yet. That channel must be closed before either call returns.
	if state := g.state.Or(gateClosed); state == 0 || state == gateClosed {
		g.once.Do(func() { close(g.drained) })
	}
	return g.drained
}
