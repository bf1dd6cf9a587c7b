package dynamic

import (
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// activeRequests are those that a service is handling, so that their clients can cancel them.
type activeRequests struct {
	mu       sync.Mutex
	contexts map[id.Call]*requestContext
}

func (a *activeRequests) add(callID id.Call, ctx *requestContext) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.contexts == nil {
		a.contexts = map[id.Call]*requestContext{}
	}
	a.contexts[callID] = ctx
}

func (a *activeRequests) remove(callID id.Call, ctx *requestContext) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.contexts[callID] == ctx { // and not a later request with the same id
		delete(a.contexts, callID)
	}
}

func (a *activeRequests) cancel(callID id.Call) {
	a.mu.Lock()
	ctx := a.contexts[callID]
	a.mu.Unlock()
	if ctx != nil {
		ctx.end()
	}
}

// onCancel takes a frame from the bus; it never blocks.
func (r *Registration) onCancel(frame []byte) {
	envelope, err := wire.ParseEnvelope(frame)
	if err != nil || envelope.Kind != wire.KindCancel {
		r.server.stats.badFrames.Add(1)
		return
	}
	cancel, err := wire.ParseCancel(envelope.Value)
	if err != nil {
		r.server.stats.badFrames.Add(1)
		return
	}
	if callID, ok := id.ParseCall(cancel.RequestID); ok {
		r.active.cancel(callID)
	}
}

// limiter bounds how many run at the same time.
type limiter struct {
	max     int64 // 0: no limit
	running atomic.Int64
}

// enter reports whether there is room; whoever entered must leave.
func (l *limiter) enter() bool {
	if l.max == 0 || l.running.Add(1) <= l.max {
		return true
	}
	l.running.Add(-1)
	return false
}

func (l *limiter) leave() {
	if l.max != 0 {
		l.running.Add(-1)
	}
}
