package call

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// unicastRoute chooses which servers of a method receive a request. It is used for queue methods,
// and for calls with [Selection.Candidates] or [selection.Opts.AcceptFirstAvailable]. Until the
// engine knows all servers of the method and topic, requests go to the queue or to all servers; see
// [selection.Directory].
//
// On Redis, each process of a queue receives each request and asks Redis for a lock. With many
// processes, these lock attempts take most of the broker's time. A request that is sent to a single
// server needs no lock. A unicastRoute is immutable.
type unicastRoute struct {
	membership *selection.Membership
	presence   *presence
	// requests is the name of the request channel of the method and topic.
	requests string
}

func (u *unicastRoute) directory() *selection.Directory { return &u.membership.Directory }

// candidates returns n servers, chosen at random, to which a request is to be sent. It returns nil
// if the request is to be sent to all servers, for example because there are no more than n.
func (u *unicastRoute) candidates(n int, now time.Time) []*selection.Member {
	if !u.presence.core.traits.CountsReceivers && !u.membership.KnowsAll() {
		return nil
	}
	return u.directory().Sample(n, u.sinceEpoch(now), u.presence.core.traits.CountsReceivers)
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
	return u.presence.core.sinceEpoch(now)
}

// onCounted records the number of receivers that the bus has reported for a request to the queue or
// to all servers. If the engine does not know all of them, onCounted may send a discovery request.
// It never blocks.
func (u *unicastRoute) onCounted(receivers int) {
	if u.directory().OnCounted(receivers, u.sinceEpoch(time.Now())) {
		u.askSoon()
	}
}

// askSoon makes another goroutine call ask. It never blocks.
func (u *unicastRoute) askSoon() {
	// Go fails only if the engine is closed. The engine then sends no more requests.
	_ = u.presence.core.Go(u.ask)
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
// again. publishErr is the error of the bus, or nil.
func (u *unicastRoute) onUndelivered(member *selection.Member, publishErr error) {
	if transport.IsPermissionDenied(publishErr) {
		u.deny(publishErr, "the more servers a queue has, the more a queue call costs")
		return
	}
	u.directory().RemoveMember(member)
}

// askAllConsequence is the end of the warning that deny logs for a request of an affinity method.
const askAllConsequence = "affinity calls ask all servers"

// deny stops sending requests to single servers, because the broker denies access to their
// channels. It logs a warning the first time that this happens for a service.
func (u *unicastRoute) deny(err error, consequence string) {
	u.directory().Disable()
	if p := u.presence; p.unicastDenied.CompareAndSwap(false, true) {
		p.core.config.Logger.Warn("dynpsrpc: the broker does not permit to publish to single servers: "+consequence,
			slog.String("service", p.service), slog.Any("error", err))
	}
}

// largeBurstFrame is the size, in bytes, of a request and its response above which the servers of a
// method get no bursts. Large messages gain nothing from sharing packets, and many of them at once
// could exceed the broker's buffer for a server.
const largeBurstFrame = 8 << 10

// onQueueCallEnded is called at the end of a queue call whose request was sent only to member. It
// records what the directory must know to send requests in bursts. servedIn is the time from the
// server's response, or zero. size is the size of the request and the response in bytes. failure is
// the response if the server has returned an error; otherwise, it is nil.
func (u *unicastRoute) onQueueCallEnded(member *selection.Member, servedIn time.Duration, size int, failure *wire.Response) {
	if size > largeBurstFrame {
		servedIn = 0
	}
	member.RecordServed(servedIn)
	if failure != nil && (failure.Unprocessed || failure.Code == string(errors.ResourceExhausted)) {
		u.directory().OnRejected(member, u.sinceEpoch(time.Now()))
	}
}

// onNotAccepted is called when a server from chooseWilling has not accepted a request. It records
// that the server is gone or has declined, so that later calls choose other servers. If the broker
// denies access to the server's channel, later requests are sent to all servers. receivers and
// publishErr are what the bus has reported for the request.
func (u *unicastRoute) onNotAccepted(member *selection.Member, receivers int, publishErr error) {
	switch {
	case transport.IsPermissionDenied(publishErr):
		u.deny(publishErr, askAllConsequence)
	case receivers == 0:
		u.directory().RemoveMember(member)
	default:
		u.directory().OnDeclined(member, u.sinceEpoch(time.Now()))
	}
}

// onClaims records which servers have claimed a request, so that chooseWilling can choose them for
// later requests. It is called at the end of a call for which chooseWilling is used, if the request
// was sent to all servers. claims holds the claims that have arrived, and asked is the time at
// which the request was sent.
func (u *unicastRoute) onClaims(claims []wire.ClaimRequest, asked time.Time) {
	complete := u.directory().AccountsForAll()
	if !u.presence.core.traits.CountsReceivers {
		complete = u.membership.KnowsAll()
	}
	if u.directory().OnClaims(claims, complete, u.sinceEpoch(asked), u.sinceEpoch(time.Now())) {
		u.askSoon()
	}
}

// suspect is called when a request was sent only to one server, and that server has not answered in
// time. suspect sends the server a discovery request, which asks whether it still receives requests
// on the route's request channel. Until the server announces itself or claims a request, this
// engine sends no more requests to it alone, and suspect does not ask it again.
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
