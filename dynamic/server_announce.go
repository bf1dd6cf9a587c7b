package dynamic

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// minAnnounceAfter is the shortest time after which a server announces a running request. It limits
// the number of announcements that a client can ask for.
const minAnnounceAfter = 10 * time.Millisecond

// announcer sends the client a sign of life if the handler of a request takes long. A client that
// receives neither a response nor an announcement within its selection timeout assumes that the
// request is lost.
//
// Most handlers end long before an announcement is due. An announcer is therefore reused by later
// requests, together with its timer, which is not stopped in between; see [callTimer].
type announcer struct {
	timer callTimer
	// call is the request that is being handled, or nil. It is stored before the timer's deadline
	// and removed after it, so a call whose deadline has passed is the right one.
	call atomic.Pointer[serverCall]
}

// announcerPool keeps announcers for reuse. Each server has its own pool, because timers created in
// a testing/synctest bubble must not be used outside it.
type announcerPool struct {
	pool sync.Pool
	// epoch is the reference time of the timers. It must be set before the first call to start.
	epoch time.Time
}

// deadline returns the time at which a request that arrived at now must be announced, in
// nanoseconds since the epoch.
func (p *announcerPool) deadline(now time.Time, announceAfter uint32) int64 {
	after := max(time.Duration(announceAfter)*time.Millisecond, minAnnounceAfter)
	return int64(now.Sub(p.epoch) + after)
}

// start arranges for c to be announced at its deadline, unless the returned announcer is passed to
// stop before.
func (p *announcerPool) start(c *serverCall) *announcer {
	a, ok := p.pool.Get().(*announcer)
	if !ok {
		a = &announcer{}
		a.timer.epoch, a.timer.onDeadline = p.epoch, a.onDeadline
		a.timer.stop()
	}
	a.call.Store(c)
	a.timer.startAt(c.announceAt)
	return a
}

// stop ends the use of an announcer.
func (p *announcerPool) stop(a *announcer) {
	a.timer.stop()
	a.call.Store(nil)
	p.pool.Put(a)
}

// onDeadline is called by the timer. It must not block, so a worker of the server publishes the
// announcement.
func (a *announcer) onDeadline(deadline int64) {
	if c := a.call.Load(); c != nil && a.timer.deadline.Load() == deadline {
		c.plan.server.workers.Go(announcement{c})
	}
}

// announcement is a task for the server's worker pool that announces a running request.
type announcement struct{ call *serverCall }

// serve publishes a claim that tells the client that the server is handling its request. If the
// claim is lost, the client may give up, so the error is logged.
func (a announcement) serve() {
	c := a.call
	server := c.plan.server
	claim := wire.ClaimRequest{RequestID: c.requestID, ServerID: server.wireID, Affinity: 1, Handling: true}
	frame, err := claim.AppendFrame(nil)
	if err != nil {
		return // cannot happen: AppendFrame fails only for invalid UTF-8, and both IDs are valid
	}
	_ = server.publishToClient(&c.context, c.plan.method, c.client.claims, frame)
}
