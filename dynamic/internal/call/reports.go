package call

import (
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// requestReport is the bus.DeliveryReport for a request that is sent to the queue or to all
// servers. For requests to single servers, see candidateReport and unicastReport.
type requestReport struct {
	inbox *callInbox
	call  id.Call
}

// Delivered implements bus.DeliveryReport. It records the number of receivers, or the error if the
// bus lost the request. It also passes the number to the unicastRoute, which may then send a
// discovery request.
func (r *requestReport) Delivered(receivers int, err error) {
	if unicast := r.record(receivers, err); unicast != nil && err == nil {
		unicast.onCounted(receivers)
	}
}

// record stores the report of the bus. It wakes the calling goroutine only if the report can end
// the call or the selection, because each wake-up takes time. record returns the inbox's field
// unicast, or nil if the call has ended.
func (r *requestReport) record(receivers int, err error) *unicastRoute {
	in := r.inbox
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.id != r.call {
		return nil
	}
	in.state.receivers, in.state.publishErr = receivers, err
	if receivers == 0 || err != nil || len(in.state.claims) > 0 {
		in.wakeup.Send()
	}
	return in.unicast
}

// grantReport is the bus.DeliveryReport for the grant of a call.
type grantReport requestReport

// Delivered implements bus.DeliveryReport. It records the error if the bus lost the grant. The
// number of receivers does not matter, because the call waits for the response from the selected
// server in any case.
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

// candidateReport is the bus.DeliveryReport for a request that is sent to one of the servers in the
// field candidates of a unaryCall.
type candidateReport struct {
	inbox  *callInbox
	call   id.Call
	route  *unicastRoute
	member *selection.Member
}

// Delivered implements bus.DeliveryReport. A candidate that has not received the request is treated
// as if it had declined the request. If its channel has no subscriber, the candidate is also
// removed from the directory.
func (r *candidateReport) Delivered(receivers int, err error) {
	if receivers != 0 && err == nil {
		return
	}
	switch {
	case receivers == 0:
		r.route.directory().RemoveMember(r.member)
	case transport.IsPermissionDenied(err):
		r.route.deny(err, askAllConsequence)
	}
	in := r.inbox
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.id == r.call && !in.state.resent {
		in.state.claims = append(in.state.claims, wire.ClaimRequest{ServerID: []byte(r.member.Channel.Name), Declined: true})
		in.wakeup.Send()
	}
}

// unicastReport is the bus.DeliveryReport for a request that is sent to the server in the field
// member of a unaryCall.
type unicastReport struct {
	inbox *callInbox
	call  id.Call
}

// Delivered implements bus.DeliveryReport. If the server has not received the request, Delivered
// records this and wakes the calling goroutine.
func (r *unicastReport) Delivered(receivers int, err error) {
	if receivers != 0 && err == nil {
		return
	}
	in := r.inbox
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.id == r.call && !in.state.resent {
		in.state.receivers, in.state.publishErr = receivers, err
		in.wakeup.Send()
	}
}
