package call

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// callInbox collects the claims and the response of one call. Bus callbacks write to it and never
// block. The calling goroutine waits for a wake-up, which may be spurious, and then takes a
// snapshot.
//
// Inboxes are reused for later calls; see [inboxPool]. A delivery report or timeout of an earlier
// call may therefore arrive during a later one. The inbox recognizes such a report or timeout by
// its request ID or deadline, and ignores it. Claims and responses arrive only while their call is
// pending.
type callInbox struct {
	wakeup queue.Wakeup
	timer  callTimer

	mu sync.Mutex
	// id is the request ID of the current call. Only the calling goroutine writes it, with mu held,
	// and may therefore read it without mu.
	id    id.Call
	state callState
	// requireClaim makes the call discard successful responses from servers that have not claimed
	// the request. Only the calling goroutine writes it, with mu held once the call is pending.
	requireClaim bool
	// unicast is notified of the number of receivers that the bus reports for a request to the
	// queue or to all servers. It is nil for a call whose request is never sent to single servers.
	// It is written before the call is pending.
	unicast *unicastRoute
}

// callState holds everything that has arrived for a call so far.
type callState struct {
	claims []wire.ClaimRequest
	// server is the ID of the server that sent the response.
	server []byte
	// body is the encoded message from a successful response.
	body []byte
	// failure is the response of a server that has returned an error, without the body of the
	// response. It is nil if no response has arrived or if the response was successful.
	failure *wire.Response
	// publishErr is the error of the bus if it has lost the request or the grant. Otherwise, it is
	// nil.
	publishErr error
	// receivers is the number of receivers that the bus reported for the request. Zero means that
	// the channel has no subscribers. It is bus.Unknown until the bus reports a number.
	receivers int
	// servedIn is the field [wire.Response.ServedIn] of the response.
	servedIn uint32
	// answered reports whether a response has been accepted. Later responses are discarded.
	answered bool
	// fromClaimer reports whether the server that sent the response had claimed the request before.
	// It is also true if no claim was required.
	fromClaimer bool
	// timedOut reports whether the call's deadline has passed.
	timedOut bool
	// resent reports whether the request was sent again, to the queue or to all servers, because
	// none of the servers to which it was first sent accepted it.
	resent bool
}

var emptyState = callState{receivers: bus.Unknown}

// newCallInbox returns an inbox whose timer measures time from epoch.
func newCallInbox(epoch time.Time) *callInbox {
	in := &callInbox{wakeup: queue.NewWakeup(), state: emptyState}
	in.timer.epoch, in.timer.onDeadline = epoch, in.onDeadline
	in.timer.stop()
	return in
}

// inboxPool keeps inboxes, with their wake-up channels and timers, for reuse by later calls.
// Without reuse, a call takes 1.13 times as long and makes 5 more allocations. Each engine has its
// own pool, because channels and timers made in a testing/synctest bubble must not be used outside
// it.
type inboxPool struct {
	pool sync.Pool
	// epoch is the time from which the timers of all inboxes count. It must be set before the first
	// call to get.
	epoch time.Time
}

// get returns an inbox for a request. The argument call is the ID of the request. When the call has
// ended, the inbox must be passed to put. The inbox of a call that opens a stream is an exception,
// because the stream keeps it.
func (p *inboxPool) get(call id.Call) *callInbox {
	in, ok := p.pool.Get().(*callInbox)
	if !ok {
		in = newCallInbox(p.epoch)
	}
	in.assign(call)
	return in
}

// put returns an inbox to the pool, from which another call may take it at once. The call that has
// used it must therefore no longer be pending, and the timer must be stopped.
func (p *inboxPool) put(in *callInbox) {
	// The method get relies on this. It also allows the messages of the call to be garbage
	// collected.
	in.clear()
	p.pool.Put(in)
}

// assign assigns an empty inbox to a call. The argument call is the request ID of that call.
func (in *callInbox) assign(call id.Call) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.id = call
}

// clear empties the inbox. It no longer belongs to a call.
func (in *callInbox) clear() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.id, in.state, in.requireClaim, in.unicast = id.Call{}, emptyState, false, nil
}

// snapshot returns a copy of the state. The elements of its slices are never modified.
func (in *callInbox) snapshot() callState {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.state
}

// onResponse implements pendingCall. It accepts the first response and discards all others. If the
// request must be claimed, a successful response from a server without a claim is also discarded,
// as in psrpc. An error response needs no claim, because a server that cannot decode the request
// sends only an error.
func (in *callInbox) onResponse(response wire.Response) bool {
	in.mu.Lock()
	fromClaimer := !in.requireClaim || in.state.hasClaim(response.ServerID)
	useful := !in.state.answered && (fromClaimer || response.Error != "")
	if useful {
		in.state.answered, in.state.fromClaimer = true, fromClaimer
		in.state.server, in.state.body, in.state.servedIn = response.ServerID, response.Body.Raw, response.ServedIn
		if response.Error != "" {
			failure := response
			failure.Body = wire.Body{}
			in.state.failure = &failure
		}
	}
	in.mu.Unlock()
	in.wakeup.Send()
	return useful
}

func (s *callState) hasClaim(server []byte) bool {
	return slices.ContainsFunc(s.claims, func(claim wire.ClaimRequest) bool { return bytes.Equal(claim.ServerID, server) })
}

// onClosed implements pendingCall. It wakes the calling goroutine, which then finds that the engine
// is closed.
func (in *callInbox) onClosed() { in.wakeup.Send() }

// extend replaces the deadline of the current call with the time started + timeout. The call
// continues even if the earlier deadline has already passed.
func (in *callInbox) extend(started time.Time, timeout time.Duration) {
	in.mu.Lock()
	in.state.timedOut = false
	in.mu.Unlock()
	in.timer.start(started, timeout)
}

// onDeadline records that the current call has timed out, and wakes the calling goroutine. The
// timer calls it when a deadline has passed. If that deadline no longer applies, because the call
// has ended or was extended, onDeadline only wakes the goroutine.
func (in *callInbox) onDeadline(deadline int64) {
	in.mu.Lock()
	if in.timer.deadline.Load() == deadline {
		in.state.timedOut = true
	}
	in.mu.Unlock()
	in.wakeup.Send()
}

// isUndelivered reports whether the only server to which the request was sent has certainly not run
// it. The server may be gone or may have declined the request, or the broker may deny access to its
// channel.
func (s *callState) isUndelivered() bool {
	return s.receivers == 0 || transport.IsPermissionDenied(s.publishErr) ||
		slices.ContainsFunc(s.claims, func(claim wire.ClaimRequest) bool { return claim.Declined })
}

// prepareResend clears the inbox before the request is sent again, to the queue or to all servers.
// The servers to which it was first sent have not accepted it.
func (in *callInbox) prepareResend(requireClaim bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.state, in.requireClaim = emptyState, requireClaim
	in.state.resent = true
}

// isError reports whether a server has answered with an error.
func (s *callState) isError() bool { return s.answered && s.failure != nil }

// discardUnselectedResponse prepares the inbox for the response from the selected server. It
// discards a response that has already arrived, if it came from another server, or if the selected
// server sent it before its claim. Responses that arrive later need no claim.
func (in *callInbox) discardUnselectedResponse(server string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.requireClaim = false
	if string(in.state.server) != server || !in.state.fromClaimer {
		in.state.answered, in.state.server, in.state.body, in.state.failure = false, nil, nil, nil
	}
}

// onClaim implements pendingCall. It keeps at most selection.MaxClaims claims and discards further
// ones, so that a flood of claims cannot exhaust the memory.
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
