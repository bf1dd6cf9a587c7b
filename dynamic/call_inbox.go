package dynamic

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// callInbox collects what has come for one call. The bus puts things in and never waits; the one goroutine that
// looks is woken through wake, perhaps for nothing.
//
// It is used for one call after the other, see [inboxPool]. What comes by way of the pending calls is for the present
// one. But a bus may report on a request, and the alarm ring, when the call has ended: both say which one they mean.
type callInbox struct {
	wakeup queue.Wakeup
	timer  callTimer

	mu    sync.Mutex
	id    id.Call // of the call's request; the caller alone changes it, and reads it without the lock
	state callState
	// requireClaim says that a success counts only from a server that has claimed the request. The caller alone changes it,
	// without the lock until the call is pending.
	requireClaim bool
}

// callState is what has come for a call so far.
type callState struct {
	claims      []wire.ClaimRequest
	server      []byte         // the one that has answered
	body        []byte         // encoded, of a success
	failure     *wire.Response // nil after a success
	publishErr  error          // the bus lost the request, or the choice of a server
	receivers   int            // how many the bus says got the request; 0: nobody listens
	answered    bool           // a response has come; the first one counts
	fromClaimer bool           // it came after a claim of its server
	timedOut    bool           // the call's time is up
}

var emptyState = callState{receivers: bus.Unknown}

// newCallInbox returns a box with an alarm that counts from epoch.
func newCallInbox(epoch time.Time) *callInbox {
	b := &callInbox{wakeup: queue.NewWakeup(), state: emptyState}
	b.timer.epoch, b.timer.onDeadline = epoch, b.onDeadline
	b.timer.stop()
	return b
}

// inboxPool keeps boxes for later calls. It belongs to a conn, since channels and timers made in a testing/synctest
// bubble must stay in it.
type inboxPool struct {
	unused sync.Pool
	epoch  time.Time // of the alarms; must be set
}

// get returns a box for a new call. Put it back, unless somebody else still has it.
func (p *inboxPool) get() *callInbox {
	b, ok := p.unused.Get().(*callInbox)
	if !ok {
		b = newCallInbox(p.epoch)
	}
	b.reset(id.NewRequest())
	return b
}

// put takes back the box of a call that has ended: one that is not pending, nor watched by the alarm.
func (p *inboxPool) put(b *callInbox) {
	b.reset(id.Call{}) // lets go of what has come
	p.unused.Put(b)
}

// reset empties the box, for the call with this id.
func (b *callInbox) reset(call id.Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.id, b.state, b.requireClaim = call, emptyState, false
}

// snapshot returns what has come so far.
func (b *callInbox) snapshot() callState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

func (b *callInbox) onResponse(response wire.Response) bool {
	b.mu.Lock()
	fromClaimer := !b.requireClaim || b.state.hasClaim(response.ServerID)
	useful := !b.state.answered && (fromClaimer || response.Error != "")
	if useful {
		b.state.answered, b.state.fromClaimer = true, fromClaimer
		b.state.server, b.state.body = response.ServerID, response.Body.Raw
		if response.Error != "" {
			b.state.failure = &wire.Response{
				Code: response.Code, Error: response.Error, Details: response.Details, Unprocessed: response.Unprocessed,
			}
		}
	}
	b.mu.Unlock()
	b.wakeup.Send()
	return useful
}

func (n *callState) hasClaim(server []byte) bool {
	return slices.ContainsFunc(n.claims, func(claim wire.ClaimRequest) bool { return bytes.Equal(claim.ServerID, server) })
}

// onConnClosed wakes the caller, who looks at the conn.
func (b *callInbox) onConnClosed() { b.wakeup.Send() }

// OnDeadline says that the call's time is up, unless the box is another call's by now.
func (b *callInbox) onDeadline(deadline int64) {
	b.mu.Lock()
	if b.timer.deadline.Load() == deadline {
		b.state.timedOut = true
	}
	b.mu.Unlock()
	b.wakeup.Send()
}

// isError tells whether a server has answered with an error. A success counts only from a server that was chosen.
func (n *callState) isError() bool { return n.answered && n.failure != nil }

// discardUnselectedResponse makes room for the answer of the server that was chosen, unless that is there already.
func (b *callInbox) discardUnselectedResponse(server string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requireClaim = false
	if string(b.state.server) != server || !b.state.fromClaimer {
		b.state.answered, b.state.server, b.state.body, b.state.failure = false, nil, nil, nil
	}
}

func (b *callInbox) onClaim(claim wire.ClaimRequest) bool {
	b.mu.Lock()
	hasRoom := len(b.state.claims) < selection.MaxClaims
	if hasRoom {
		b.state.claims = append(b.state.claims, claim)
	}
	b.mu.Unlock()
	b.wakeup.Send()
	return hasRoom
}

// requestReport takes the bus's report on the request of one call.
type requestReport struct {
	inbox *callInbox
	call  id.Call
}

// Published takes the bus's report.
func (r *requestReport) Delivered(receivers int, err error) {
	b := r.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.id != r.call {
		return
	}
	b.state.receivers, b.state.publishErr = receivers, err
	if receivers == 0 || err != nil || len(b.state.claims) > 0 { // otherwise it can wait for the answers
		b.wakeup.Send()
	}
}

// grantReport takes the bus's report on the choice of a server.
type grantReport requestReport

// Published says that the choice was lost; how many servers got it does not matter.
func (g *grantReport) Delivered(_ int, err error) {
	b := g.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil || b.id != g.call {
		return
	}
	b.state.publishErr = err
	b.wakeup.Send()
}
