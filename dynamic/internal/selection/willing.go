package selection

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

const (
	// willingTime is how long a member stays willing after its latest claim.
	willingTime = 3 * recountInterval
	// updateInterval is the shortest time between two updates of the set of willing members while
	// many requests are sent to all servers. When a client has received its first claims, it waits
	// for this time before the first update. If it waited for a shorter time, the few servers whose
	// claims happened to arrive first would get all requests.
	updateInterval = 50 * time.Millisecond
	// othersPause is how long requests are sent to all servers after a server that is not a member
	// has made a claim. Such a server may be a psrpc server, or it may have just joined or left.
	othersPause = 3 * time.Second
	// maxDeclinePause is the longest time for which requests are sent to all servers after members
	// have declined requests.
	maxDeclinePause = time.Minute
)

// willingMembers holds the members of a [Directory] that have recently claimed requests which were
// sent to all servers. A client that accepts the first available server sends most requests to one
// of them, without waiting for a claim. This saves a round trip and spares the other servers.
//
// Once a second, a request still goes to all servers. Each member that claims it before the call
// ends is willing until willingTime after the request. A member that is slow, far away or busy does
// not claim it in time, and stops being willing. It would rarely be the first available server
// anyway.
type willingMembers struct {
	// members is nil while requests must be sent to all servers. The slice is immutable.
	members atomic.Pointer[[]*Member]
	// declines is the number of requests that willing members have declined since one of them last
	// accepted a request. Requests that are declined before pausedUntil are not counted.
	declines atomic.Int32

	// Directory.mu guards the following fields.

	// pausedUntil is the time until which requests must be sent to all servers.
	pausedUntil time.Duration
	// nextUpdate is the earliest time of the next update. It is zero before the first claim.
	nextUpdate time.Duration
}

// ChooseWilling chooses a willing member for a request that any server may handle. It returns nil
// if the request must be sent to all servers. In that case, the caller must pass the claims to
// [Directory.OnClaims] at the end of the call. Otherwise, the caller must call [Member.Done] when
// the call has ended.
func (d *Directory) ChooseWilling(now time.Duration) *Member {
	members := d.willing.members.Load()
	if members == nil || d.isCountDue(now) {
		return nil
	}
	//nolint:gosec // the choice need not be unpredictable
	chosen := lessLoaded(*members, rand.IntN(len(*members)))
	if !chosen.isWilling(now) {
		return nil
	}
	chosen.calls.Add(1)
	return chosen
}

// isWilling reports whether the latest claim of the member is recent.
func (m *Member) isWilling(now time.Duration) bool { return int64(now) < m.willingUntil.Load() }

// OnClaims records which members have claimed a request that was sent to all servers at the time
// asked. ChooseWilling then chooses among these. complete reports whether all servers are known to
// be members. If ask is true, a server that is not a member has made a claim, and the caller must
// send a discovery request to all servers. That server may have been removed while it had no
// connection to the broker.
func (d *Directory) OnClaims(claims []wire.ClaimRequest, complete bool, asked, now time.Duration) (ask bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &d.willing
	hasStrangers := false
	for _, claim := range claims {
		switch member := d.servers[string(claim.ServerID)]; {
		case member == nil && !complete:
			// The server may not have announced itself yet.
		case member == nil:
			// This is a psrpc server, for example. If requests were sent to members only, it would
			// get none.
			w.pausedUntil = max(w.pausedUntil, now+othersPause)
			hasStrangers = true
		case claim.Declined:
			member.willingUntil.Store(0)
		default:
			member.willingUntil.Store(max(member.willingUntil.Load(), int64(asked+willingTime)))
			if member.suspected && member.isWilling(now) {
				d.makeAvailableLocked(member)
			}
		}
	}
	switch {
	case !complete || d.disabled || now < w.pausedUntil:
		w.members.Store(nil)
	case w.nextUpdate == 0 && len(claims) > 0:
		w.nextUpdate = now + updateInterval
	case now >= w.nextUpdate:
		w.nextUpdate = now + updateInterval
		d.nextCount.Store(int64(now + recountInterval))
		d.setWillingLocked(slices.DeleteFunc(slices.Clone(d.available), func(m *Member) bool { return !m.isWilling(now) }))
	}
	return hasStrangers && d.isAskDueLocked(now)
}

// setWillingLocked sets the members from which ChooseWilling chooses.
func (d *Directory) setWillingLocked(members []*Member) {
	if len(members) == 0 {
		d.willing.members.Store(nil)
	} else {
		d.willing.members.Store(&members)
	}
}

// notWillingLocked records that a member is not willing.
func (d *Directory) notWillingLocked(m *Member) {
	m.willingUntil.Store(0)
	if members := d.willing.members.Load(); members != nil && slices.Contains(*members, m) {
		d.setWillingLocked(slices.DeleteFunc(slices.Clone(*members), func(other *Member) bool { return other == m }))
	}
}

// OnAccepted records that a willing member has accepted a request.
func (d *Directory) OnAccepted() {
	if d.willing.declines.Load() != 0 {
		d.willing.declines.Store(0)
	}
}

// OnDeclined records that a willing member has declined a request. A declined request costs an
// extra round trip. After two declined requests in a row, all requests are therefore sent to all
// servers for a second. If the next request after that is declined too, this time is doubled, and
// so on, up to maxDeclinePause.
func (d *Directory) OnDeclined(m *Member, now time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notWillingLocked(m)
	w := &d.willing
	if now < w.pausedUntil {
		return
	}
	const maxDoublings = 10
	if declines := w.declines.Add(1); declines > 1 {
		w.pausedUntil = now + min(recountInterval<<min(declines-2, maxDoublings), maxDeclinePause)
		w.members.Store(nil)
	}
}
