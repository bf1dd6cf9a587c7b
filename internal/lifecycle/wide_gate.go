package lifecycle

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

// WideGate is a [Gate] for many processors at once: when it is found to be crowded, each counts by itself. Its zero value
// is open. All methods may be called together from many goroutines; none of them blocks.
type WideGate struct {
	closed   atomic.Bool
	narrow   Place                                 // where those are who came before it was crowded
	wide     atomic.Pointer[[shard.Count]wideLine] // nil until it was
	mu       sync.Mutex
	empty    chan struct{} // made by the first Close
	reported bool          // empty is closed
}

// Place is where somebody is who has entered a [WideGate].
type Place struct{ inside atomic.Int64 }

type wideLine struct {
	Place

	_ [shard.Line - 8]byte // processors do not share one
}

// Enter returns the caller's place until it calls Leave with that, or nil if the gate is closed.
func (g *WideGate) Enter() *Place {
	place := g.enter()
	if !g.closed.Load() { // whoever closes it from now on finds the caller inside
		return place
	}
	g.Leave(place)
	return nil
}

func (g *WideGate) enter() *Place {
	wide := g.wide.Load()
	if wide == nil {
		inside := g.narrow.inside.Load()
		if g.narrow.inside.CompareAndSwap(inside, inside+1) {
			return &g.narrow
		}
		g.wide.CompareAndSwap(nil, new([shard.Count]wideLine)) // somebody else was there at the same moment
		wide = g.wide.Load()
	}
	place := &wide[shard.Own()].Place
	place.inside.Add(1)
	return place
}

// Leave undoes the Enter that returned place.
func (g *WideGate) Leave(place *Place) {
	if place.inside.Add(-1) == 0 && g.closed.Load() {
		g.report()
	}
}

// Close keeps newcomers out, and returns a channel that is closed when the last one inside has left. Later calls return
// the same channel.
func (g *WideGate) Close() <-chan struct{} {
	g.mu.Lock()
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	g.mu.Unlock()
	g.closed.Store(true)
	g.report()
	return g.empty
}

// report closes empty if nobody is inside. The gate is closed: a place that was found empty is entered only by those who
// will find that out and leave, so looking at one place after the other is enough.
func (g *WideGate) report() {
	if g.narrow.inside.Load() != 0 {
		return
	}
	if wide := g.wide.Load(); wide != nil {
		for i := range wide {
			if wide[i].inside.Load() != 0 {
				return
			}
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.reported {
		g.reported = true
		close(g.empty)
	}
}
