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

// callInbox buffers the claims and the response of one call between the bus callbacks, which never
// block, and the calling goroutine, which waits on wakeup and then takes a snapshot. Wake-ups may
// be spurious.
//
// Inboxes are reused for later calls, see [inboxPool]. Claims and responses reach an inbox only
// while its call is pending, but a delivery report of the bus or the call timer may fire after the
// call has ended and the inbox has its next call. Reports therefore carry the request id, and the
// timer its deadline, and the inbox ignores those of earlier calls.
type callInbox struct {
	wakeup queue.Wakeup
	timer  callTimer

	mu sync.Mutex
	// id is the id of the call's request. Only the calling goroutine changes it, and reads it
	// without mu.
	id    id.Call
	state callState
	// requireClaim discards successful responses of servers that have not claimed the request. Only
	// the calling goroutine changes it, without mu until the call is pending.
	requireClaim bool
}

// callState is everything that has arrived for a call so far. It is copied as a whole by
// [callInbox.snapshot].
type callState struct {
	claims []wire.ClaimRequest
	// server is the id of the server that sent the response.
	server []byte
	// body is the encoded message of a successful response.
	body []byte
	// failure is an error response, without its body. It is nil after a success.
	failure *wire.Response
	// publishErr is the error with which the bus lost the request or the grant.
	publishErr error
	// receivers is the number of receivers of the request that the bus reported; zero means that
	// the channel has no subscribers. It is bus.Unknown until the bus reports a number.
	receivers int
	// answered is true once a response has arrived. Later responses are discarded.
	answered bool
	// fromClaimer is true if the server claimed the request before it answered, or if no claim was
	// required.
	fromClaimer bool
	// timedOut is true once the call's deadline has passed.
	timedOut bool
}

var emptyState = callState{receivers: bus.Unknown}

// newCallInbox returns an inbox whose timer counts from epoch.
func newCallInbox(epoch time.Time) *callInbox {
	in := &callInbox{wakeup: queue.NewWakeup(), state: emptyState}
	in.timer.epoch, in.timer.onDeadline = epoch, in.onDeadline
	in.timer.stop()
	return in
}

// inboxPool keeps inboxes, with their wake-up channels and timers, for later calls. With
// a new inbox for each call, calls of a single caller take 1.13 times as long and 5 more
// allocations.
//
// Each conn has its own pool, because channels and timers created in a testing/synctest bubble must
// not be used outside of it.
type inboxPool struct {
	pool sync.Pool
	// epoch is the time from which the call timers count. It must be set before the first get.
	epoch time.Time
}

// get returns an inbox with a new request id. The caller returns the inbox with put after the call,
// except if another goroutine may still use it, as the callbacks of an open stream do.
func (p *inboxPool) get() *callInbox {
	in, ok := p.pool.Get().(*callInbox)
	if !ok {
		in = newCallInbox(p.epoch)
	}
	in.reset(id.NewRequest())
	return in
}

// put takes back the inbox of a call that is no longer pending and whose timer is stopped.
func (p *inboxPool) put(in *callInbox) {
	in.reset(id.Call{}) // so that the messages of the call can be garbage collected
	p.pool.Put(in)
}

// reset empties the inbox and assigns it to the call with this request id.
func (in *callInbox) reset(call id.Call) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.id, in.state, in.requireClaim = call, emptyState, false
}

// snapshot returns a copy of the state. The slices are shared, but their elements are never
// changed.
func (in *callInbox) snapshot() callState {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.state
}

// onResponse implements pendingCall. The first response counts. A success from a server that had to
// claim the request and has not is discarded, as in psrpc; an error counts anyway, since it may be
// the only answer of a server that cannot decode the request.
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

// onConnClosed wakes the calling goroutine, which then finds the conn closed.
func (in *callInbox) onConnClosed() { in.wakeup.Send() }

// onDeadline is called by the timer at the deadline of a call. It does nothing but wake if the
// inbox has another call by now, which the different deadline shows.
func (in *callInbox) onDeadline(deadline int64) {
	in.mu.Lock()
	if in.timer.deadline.Load() == deadline {
		in.state.timedOut = true
	}
	in.mu.Unlock()
	in.wakeup.Send()
}

// isError reports whether a server has answered with an error.
func (s *callState) isError() bool { return s.answered && s.failure != nil }

// discardUnselectedResponse drops the response of any server other than the selected one, so that
// the selected server's response is the first. It keeps a response that the selected server has
// sent after its claim.
func (in *callInbox) discardUnselectedResponse(server string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.requireClaim = false
	if string(in.state.server) != server || !in.state.fromClaimer {
		in.state.answered, in.state.server, in.state.body, in.state.failure = false, nil, nil, nil
	}
}

// onClaim implements pendingCall. It discards claims beyond selection.MaxClaims, which bounds the
// memory that a flood of claims can take.
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

// requestReport is the bus.DeliveryReport for the request of one call.
type requestReport struct {
	inbox *callInbox
	call  id.Call
}

// Delivered records the number of receivers, or the error with which the bus lost the request. It
// wakes the calling goroutine only if that can end the call or the selection, which saves a wake-up
// per call.
func (r *requestReport) Delivered(receivers int, err error) {
	in := r.inbox
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.id != r.call {
		return
	}
	in.state.receivers, in.state.publishErr = receivers, err
	if receivers == 0 || err != nil || len(in.state.claims) > 0 {
		in.wakeup.Send()
	}
}

// grantReport is the bus.DeliveryReport for the grant of one call.
type grantReport requestReport

// Delivered records the error with which the bus lost the grant. The number of receivers is
// ignored: the selected server answers or does not.
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
