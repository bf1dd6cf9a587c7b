package dynamic

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// minAnnounceAfter is the shortest time after which a server announces that it is handling a
// request. It limits how many announcements a client can cause.
const minAnnounceAfter = 10 * time.Millisecond

// announcer tells the client that the server is still handling a request if the handler takes long.
// A client that receives neither a response nor an announcement within its selection timeout
// assumes that the request is lost.
//
// Most handlers end long before an announcement is due. An announcer is therefore reused by later
// requests, together with its timer; see [callTimer].
type announcer struct {
	timer callTimer
	// call is the request that is being handled, or nil. It is stored before the timer's deadline
	// is set, and removed after the deadline has been cleared. When the timer fires, call is
	// therefore the request whose deadline has passed.
	call atomic.Pointer[serverCall]
}

// announcerPool keeps announcers for reuse. Each server has its own pool, because timers created in
// a testing/synctest bubble must not be used outside it.
type announcerPool struct {
	pool sync.Pool
	// epoch is the reference time of the timers. It must be set before the first call to start.
	epoch time.Time
}

// deadline returns the time at which the server must announce that it is still handling a request
// that has arrived at the time now. announceAfter is in milliseconds, and the result is in
// nanoseconds since p.epoch.
func (p *announcerPool) deadline(now time.Time, announceAfter uint32) int64 {
	after := max(time.Duration(announceAfter)*time.Millisecond, minAnnounceAfter)
	return int64(now.Sub(p.epoch) + after)
}

// start returns an announcer for the request c. The announcer announces the request at the time
// c.announceAt, unless it is passed to stop earlier.
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

// stop cancels the announcement, unless it has already been made, and returns the announcer to the
// pool.
func (p *announcerPool) stop(a *announcer) {
	a.timer.stop()
	a.call.Store(nil)
	p.pool.Put(a)
}

// onDeadline is called by the timer when a request must be announced. It must not block, so a
// worker of the server publishes the announcement.
func (a *announcer) onDeadline(deadline int64) {
	if c := a.call.Load(); c != nil && a.timer.deadline.Load() == deadline {
		c.plan.server.workers.Go(announcement{c})
	}
}

// announcement is a task for the server's worker pool. The task is to tell a client that the server
// is handling its request.
type announcement struct{ call *serverCall }

// serve publishes a claim that tells the client that the server is handling its request. If the
// claim cannot be sent, publishToClient logs a warning, because the client may then give up.
func (a announcement) serve() {
	c := a.call
	server := c.plan.server
	claim := wire.ClaimRequest{RequestID: c.requestID, ServerID: server.wireID, Affinity: 1, Handling: true}
	frame, err := claim.AppendFrame(nil)
	if err != nil {
		// This cannot happen, because AppendFrame fails only if an ID is not valid UTF-8.
		return
	}
	ctx := lazyctx.Context{Parent: &c.context, Expiry: time.Now().Add(server.options.timeout)}
	defer ctx.Cancel()
	_ = server.publishToClient(&ctx, c.plan.method, c.client.claims, frame)
}
