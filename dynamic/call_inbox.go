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
	in := &callInbox{wakeup: queue.NewWakeup(), state: emptyState}
	in.timer.epoch, in.timer.onDeadline = epoch, in.onDeadline
	in.timer.stop()
	return in
}

// inboxPool keeps boxes for later calls. It belongs to a conn, since channels and timers made in a testing/synctest
// bubble must stay in it.
type inboxPool struct {
	pool  sync.Pool
	epoch time.Time // of the alarms; must be set
}

// get returns a box for a new call. Put it back, unless somebody else still has it.
func (p *inboxPool) get() *callInbox {
	in, ok := p.pool.Get().(*callInbox)
	if !ok {
		in = newCallInbox(p.epoch)
	}
	in.reset(id.NewRequest())
	return in
}

// put takes back the box of a call that has ended: one that is not pending, nor watched by the alarm.
func (p *inboxPool) put(in *callInbox) {
	in.reset(id.Call{}) // lets go of what has come
	p.pool.Put(in)
}

// reset empties the box, for the call with this id.
func (in *callInbox) reset(call id.Call) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.id, in.state, in.requireClaim = call, emptyState, false
}

// snapshot returns what has come so far.
func (in *callInbox) snapshot() callState {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.state
}

func (in *callInbox) onResponse(response wire.Response) bool {
	in.mu.Lock()
	fromClaimer := !in.requireClaim || in.state.hasClaim(response.ServerID)
	useful := !in.state.answered && (fromClaimer || response.Error != "")
	if useful {
		in.state.answered, in.state.fromClaimer = true, fromClaimer
		in.state.server, in.state.body = response.ServerID, response.Body.Raw
		if response.Error != "" {
			in.state.failure = &wire.Response{
				Code: response.Code, Error: response.Error, Details: response.Details, Unprocessed: response.Unprocessed,
			}
		}
	}
	in.mu.Unlock()
	in.wakeup.Send()
	return useful
}

func (s *callState) hasClaim(server []byte) bool {
	return slices.ContainsFunc(s.claims, func(claim wire.ClaimRequest) bool { return bytes.Equal(claim.ServerID, server) })
}

// onConnClosed wakes the caller, who looks at the conn.
func (in *callInbox) onConnClosed() { in.wakeup.Send() }

// OnDeadline says that the call's time is up, unless the box is another call's by now.
func (in *callInbox) onDeadline(deadline int64) {
	in.mu.Lock()
	if in.timer.deadline.Load() == deadline {
		in.state.timedOut = true
	}
	in.mu.Unlock()
	in.wakeup.Send()
}

// isError tells whether a server has answered with an error. A success counts only from a server that was chosen.
func (s *callState) isError() bool { return s.answered && s.failure != nil }

// discardUnselectedResponse makes room for the answer of the server that was chosen, unless that is there already.
func (in *callInbox) discardUnselectedResponse(server string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.requireClaim = false
	if string(in.state.server) != server || !in.state.fromClaimer {
		in.state.answered, in.state.server, in.state.body, in.state.failure = false, nil, nil, nil
	}
}

func (in *callInbox) onClaim(claim wire.ClaimRequest) bool {
	in.mu.Lock()
	hasRoom := len(in.state.claims) < selection.MaxClaims
	if hasRoom {
		in.state.claims = append(in.state.claims, claim)
	}
	in.mu.Unlock()
	in.wakeup.Send()
	return hasRoom
}

// requestReport takes the bus's report on the request of one call.
type requestReport struct {
	inbox *callInbox
	call  id.Call
}

// Published takes the bus's report.
func (r *requestReport) Delivered(receivers int, err error) {
	in := r.inbox
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.id != r.call {
		return
	}
	in.state.receivers, in.state.publishErr = receivers, err
	if receivers == 0 || err != nil || len(in.state.claims) > 0 { // otherwise it can wait for the answers
		in.wakeup.Send()
	}
}

// grantReport takes the bus's report on the choice of a server.
type grantReport requestReport

// Published says that the choice was lost; how many servers got it does not matter.
func (g *grantReport) Delivered(_ int, err error) {
	in := g.inbox
	in.mu.Lock()
	defer in.mu.Unlock()
	if err == nil || in.id != g.call {
		return
	}
	in.state.publishErr = err
	in.wakeup.Send()
}
