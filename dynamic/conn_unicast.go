package dynamic

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// unicastRoute chooses the servers of a method to which a request is sent. It is used for queue
// methods, and for calls with [SelectionOpts.Candidates] or [SelectionOpts.AcceptFirstAvailable].
// Until the conn knows all servers of the method and topic, requests go to the queue or to all
// servers; see [selection.Directory].
//
// On Redis, each process of a queue receives each request and asks Redis for a lock. With many
// processes, these lock attempts take most of the broker's time. A request that is sent to a single
// server needs no lock. A unicastRoute is immutable.
type unicastRoute struct {
	membership *selection.Membership
	presence   *connPresence
	// requests is the name of the request channel of the method and topic.
	requests string
}

func (u *unicastRoute) directory() *selection.Directory { return &u.membership.Directory }

// candidates returns n servers, chosen at random, to which a request is to be sent. It returns nil
// if the request must be sent to all servers.
func (u *unicastRoute) candidates(n int, now time.Time) []*selection.Member {
	if !u.presence.conn.traits.CountsReceivers && !u.membership.KnowsAll() {
		return nil
	}
	return u.directory().Sample(n, u.sinceEpoch(now), u.presence.conn.traits.CountsReceivers)
}

// choose returns the server of a queue to which a request is to be sent, or nil if the request must
// be sent to the queue. The caller must call [selection.Member.Done] when the call has ended.
func (u *unicastRoute) choose(now time.Time) *selection.Member {
	return u.directory().Choose(u.sinceEpoch(now))
}

// chooseWilling returns a server that has recently claimed a request, or nil if the request must be
// sent to all servers. It is used for calls that accept any server; see the field acceptsAny of
// [unaryCall]. The caller must call [selection.Member.Done] when the call has ended.
func (u *unicastRoute) chooseWilling(now time.Time) *selection.Member {
	return u.directory().ChooseWilling(u.sinceEpoch(now))
}

func (u *unicastRoute) sinceEpoch(now time.Time) time.Duration {
	return now.Sub(u.presence.conn.inboxes.epoch)
}

// onCounted records the number of receivers that the bus has reported for a request to the queue or
// to all servers. If the conn does not know all of them, onCounted may send a discovery request. It
// never blocks.
func (u *unicastRoute) onCounted(receivers int) {
	if u.directory().OnCounted(receivers, u.sinceEpoch(time.Now())) {
		u.askSoon()
	}
}

// askSoon makes another goroutine call ask. It never blocks.
func (u *unicastRoute) askSoon() {
	// goTracked fails only if the conn is closed. The conn then sends no more requests.
	_ = u.presence.conn.goTracked(u.ask)
}

// ask sends a discovery request to all servers of the service, to find out which of them receive
// the requests of the route. It does nothing if discovery is turned off.
func (u *unicastRoute) ask() {
	p := u.presence
	if p.denied.Load() {
		return
	}
	if err := p.discover(bus.Channel(wire.DiscoverChannel(p.service)), u.requests, p); err != nil {
		p.Delivered(bus.Unknown, err)
	}
}

// onUndelivered is called when a server of a queue has not accepted a request that was sent only to
// it. If the broker denies access to the server's channel, no more requests are sent to single
// servers. Otherwise, no more requests are sent to this server alone until it announces itself
// again. state is the state of the call.
func (u *unicastRoute) onUndelivered(member *selection.Member, state *callState) {
	if transport.IsPermissionDenied(state.publishErr) {
		u.deny(state.publishErr, "the more servers a queue has, the more a queue call costs")
		return
	}
	u.directory().RemoveMember(member)
}

// askAllConsequence says what happens if a request of an affinity method cannot be sent to a single
// server.
const askAllConsequence = "affinity calls ask all servers"

// deny stops sending requests to single servers and logs a warning. It is called when the broker
// denies access to their channels.
func (u *unicastRoute) deny(err error, consequence string) {
	u.directory().Disable()
	if p := u.presence; p.unicastDenied.CompareAndSwap(false, true) {
		p.conn.options.logger.Warn("dynpsrpc: the broker does not permit to publish to single servers: "+consequence,
			slog.String("service", p.service), slog.Any("error", err))
	}
}

// onNotAccepted is called when a server from chooseWilling has not accepted a request. It records
// that the server is gone or has declined, so that later calls choose other servers. If the broker
// denies access to the server's channel, later requests are sent to all servers. state is the state
// of the call.
func (u *unicastRoute) onNotAccepted(member *selection.Member, state *callState) {
	switch {
	case transport.IsPermissionDenied(state.publishErr):
		u.deny(state.publishErr, askAllConsequence)
	case state.receivers == 0:
		u.directory().RemoveMember(member)
	default:
		u.directory().OnDeclined(member, u.sinceEpoch(time.Now()))
	}
}

// onClaims records which servers have claimed a request, so that chooseWilling can choose them for
// later requests. It is called at the end of a call for which chooseWilling is used, if the request
// was sent to all servers. claims holds the claims that have arrived, and asked is the time at which
// the request was sent.
func (u *unicastRoute) onClaims(claims []wire.ClaimRequest, asked time.Time) {
	complete := u.directory().AccountsForAll()
	if !u.presence.conn.traits.CountsReceivers {
		complete = u.membership.KnowsAll()
	}
	if u.directory().OnClaims(claims, complete, u.sinceEpoch(asked), u.sinceEpoch(time.Now())) {
		u.askSoon()
	}
}

// suspect is called when a request was sent only to one server, and that server has not answered in
// time. suspect sends the server a discovery request, which asks whether it still receives requests
// on the route's request channel. Until the server announces itself or claims a request, this conn
// sends no more requests to it alone, and suspect does not ask it again.
func (u *unicastRoute) suspect(member *selection.Member) {
	if u.directory().Suspect(member) {
		// If the discovery request or the response is lost, the server is asked again together with
		// all others; see [selection.Directory.OnCounted].
		_ = u.presence.discover(bus.Channel(member.Channel), u.requests, &questionReport{u.directory(), member})
	}
}

// questionReport is the bus.DeliveryReport for a discovery request to a single server, which is a
// member of the directory.
type questionReport struct {
	directory *selection.Directory
	member    *selection.Member
}

// Delivered implements bus.DeliveryReport. If the channel of the member has no subscriber, the
// server is gone, and Delivered removes the member.
func (r *questionReport) Delivered(receivers int, _ error) {
	if receivers == 0 {
		r.directory.RemoveMember(r.member)
	}
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
