package lifecycle

import (
	"math"
	"sync"
	"sync/atomic"
)

// gateClosed is the sign bit of a gate's state; the other bits count those inside.
const gateClosed = math.MinInt64

// Gate lets any number of goroutines in until it is closed. All methods may be called together from many
// goroutines; none of them blocks. Make one with [NewGate].
type Gate struct {
	state   atomic.Int64
	once    sync.Once
	drained chan struct{}
}

// NewGate returns an open gate.
func NewGate() *Gate {
	return &Gate{drained: make(chan struct{})}
}

// Enter reports whether the gate is open; if so the caller is inside until it calls Leave.
func (g *Gate) Enter() bool {
	if g.state.Add(1) > 0 {
		return true
	}
	g.Leave()
	return false
}

// Leave undoes one successful Enter.
func (g *Gate) Leave() {
	if g.state.Add(-1) == gateClosed {
		g.once.Do(func() { close(g.drained) })
	}
}

// Close keeps newcomers out, and returns a channel that is closed when the last one inside has left.
// Later calls return the same channel.
func (g *Gate) Close() <-chan struct{} {
	if g.state.Or(gateClosed) == 0 {
		g.once.Do(func() { close(g.drained) })
	}
	return g.drained
}
