package serve

import (
	"container/list"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// pendingClaims holds the requests that a server has received and for which the client has not yet
// selected a server. Clients decide how many requests there are and when they expire. pendingClaims
// therefore limits their number, their total size and the time for which they wait. A waiting
// request has no goroutine.
type pendingClaims struct {
	config *Config
	// drops counts the requests that were removed because of a limit.
	drops *transport.Drops

	mu sync.Mutex
	// byID contains the requests, keyed by request ID. If several requests have the same ID, it
	// contains only the latest one.
	byID map[string]*pendingClaim
	// arrivals contains all requests in order of arrival. Its values are of type *pendingClaim.
	arrivals list.List
	// bytes is the total size of the requests in arrivals.
	bytes int
}

// claimant is a request that is handled only if the client selects this server.
type claimant interface {
	transport.InfoProvider
	// grantDecided is called when the client has selected a server, or when the request has been
	// given up. If granted is true, the client has selected this server, and grantDecided starts to
	// handle the request on another goroutine. Otherwise, it releases the request. grantDecided
	// never blocks.
	grantDecided(granted bool)
}

// pendingClaim is a request in pendingClaims. Fields that change are guarded by pendingClaims.mu.
type pendingClaim struct {
	claimant  claimant
	endpoint  *endpoint
	requestID string
	size      int
	timer     *time.Timer
	// arrived is the time at which the request arrived.
	arrived time.Time
	// request is the decoded message of a call that waits for the client to select a server. Only
	// the code that handles the call uses this field.
	request wire.Body

	element *list.Element
	// parked is set by the method park if the client has not selected a server yet. The request
	// then waits without a goroutine, and the decision is passed to claimant.grantDecided.
	// Otherwise, park returns the decision to its caller.
	parked bool
	// outcome is the decision. It is 0 until there is one.
	outcome ClaimOutcome
}

func (c *pendingClaim) decided() bool { return c.outcome != 0 }
func (c *pendingClaim) granted() bool { return c.outcome == ClaimGranted }

// register adds a request that waits for the client to select a server. It must be called before
// the claim is sent, because the client may answer at once. As in psrpc, the client can then no
// longer select this server for an earlier request with the same ID. size is how many bytes the
// request keeps in memory, and expiry is when the client stops waiting. If too many requests are
// waiting, register drops the oldest ones.
func (p *pendingClaims) register(
	requestID []byte, claimant claimant, e *endpoint, size int, expiry time.Time,
) *pendingClaim {
	now := time.Now()
	claim := &pendingClaim{claimant: claimant, endpoint: e, requestID: string(requestID), size: size, arrived: now}
	p.mu.Lock()
	if p.byID == nil {
		p.byID = map[string]*pendingClaim{}
	}
	p.byID[claim.requestID] = claim
	claim.element = p.arrivals.PushBack(claim)
	p.bytes += size
	if untilExpiry := expiry.Sub(now); untilExpiry <= p.config.GrantTimeout {
		claim.timer = time.AfterFunc(untilExpiry, func() { p.decide(claim, ClaimTimedOut) })
	} else {
		claim.timer = time.AfterFunc(p.config.GrantTimeout, func() { p.evict(claim) })
	}
	tooMany := p.removeExcessLocked()
	p.mu.Unlock()
	for _, claim := range tooMany {
		p.countEvicted(claim)
		claim.release()
	}
	return claim
}

// evict drops a request whose client has not selected a server within the maximum time. Unlike
// decide, it also counts the request as evicted.
func (p *pendingClaims) evict(claim *pendingClaim) {
	if p.decide(claim, ClaimTimedOut) {
		p.countEvicted(claim)
	}
}

// countEvicted counts a request that was removed because of a limit.
func (p *pendingClaims) countEvicted(claim *pendingClaim) {
	p.drops.Add(transport.DropEvicted, transport.DroppedFrame{Method: claim.endpoint.plan.method})
}

// removeExcessLocked removes the oldest requests until neither their number nor their total size
// exceeds its limit. It returns the removed requests. The latest request is kept even if it is too
// large on its own. The caller must hold mu.
func (p *pendingClaims) removeExcessLocked() (removed []*pendingClaim) {
	for p.arrivals.Len() > p.config.MaxPendingClaims ||
		p.bytes > p.config.MaxPendingClaimBytes && p.arrivals.Len() > 1 {
		oldest := p.arrivals.Front().Value.(*pendingClaim)
		p.decideLocked(oldest, ClaimTimedOut)
		removed = append(removed, oldest)
	}
	return removed
}

// isRejected reports whether a request has been given up, usually because the client has selected
// another server. The server then need not claim the request.
func (p *pendingClaims) isRejected(claim *pendingClaim) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return claim.decided() && !claim.granted()
}

// park makes a request wait for the client's decision. It is called when the claim has been sent.
// decided reports whether the client has decided already, and granted whether it has selected this
// server. If the client has not decided, another goroutine continues the request after the
// decision, so the caller must not use the request any more. park never blocks.
func (p *pendingClaims) park(claim *pendingClaim) (granted, decided bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !claim.decided() {
		claim.parked = true
	}
	return claim.granted(), claim.decided()
}

// remove removes a request that needs no decision any more, because the server has not claimed it.
// It does nothing if the request has already been removed.
func (p *pendingClaims) remove(claim *pendingClaim) { p.decide(claim, ClaimDeclined) }

// resolve passes the client's decision to a waiting request. granted reports whether the client has
// selected this server. Only the first decision about a request counts. A decision about an unknown
// request is ignored. A request may be unknown because a decision reaches all servers of the
// method, even a server that has not claimed the request.
func (p *pendingClaims) resolve(requestID []byte, granted bool) {
	p.mu.Lock()
	claim := p.byID[string(requestID)]
	p.mu.Unlock()
	switch {
	case claim == nil:
	case granted:
		p.decide(claim, ClaimGranted)
	default:
		p.decide(claim, ClaimLost)
	}
}

// abandon drops the waiting requests of endpoints that have ended. The function ended reports
// whether an endpoint has ended.
func (p *pendingClaims) abandon(ended func(e *endpoint) bool) {
	var abandoned []*pendingClaim
	p.mu.Lock()
	for element := p.arrivals.Front(); element != nil; {
		claim := element.Value.(*pendingClaim)
		element = element.Next()
		if ended(claim.endpoint) {
			p.decideLocked(claim, ClaimTimedOut)
			abandoned = append(abandoned, claim)
		}
	}
	p.mu.Unlock()
	for _, claim := range abandoned {
		claim.release()
	}
}

// decide removes a waiting request and passes the decision to it. It returns false if the request
// has already been removed.
func (p *pendingClaims) decide(claim *pendingClaim, outcome ClaimOutcome) bool {
	p.mu.Lock()
	first := p.decideLocked(claim, outcome)
	p.mu.Unlock()
	if first {
		claim.release()
	}
	return first
}

// decideLocked removes a waiting request and records the decision. It returns false if the request
// has already been removed. The caller must hold mu. If decideLocked returns true, the caller must
// call release after it has unlocked mu.
func (p *pendingClaims) decideLocked(claim *pendingClaim, outcome ClaimOutcome) bool {
	if claim.decided() {
		return false
	}
	claim.outcome = outcome
	claim.timer.Stop()
	p.arrivals.Remove(claim.element)
	p.bytes -= claim.size
	if p.byID[claim.requestID] == claim {
		delete(p.byID, claim.requestID)
	}
	return true
}

// release emits an event about the decision, and passes the decision to the request if the request
// is waiting for it. It may read the fields of c without a lock, because they do not change after
// the decision.
func (c *pendingClaim) release() {
	if c.endpoint.hasEvents() {
		c.endpoint.emit(Event{
			Kind: ClaimDecided, Peer: c.claimant.RequestInfo().ClientID, Outcome: c.outcome, Wait: time.Since(c.arrived),
		})
	}
	if c.parked {
		c.claimant.grantDecided(c.granted())
	}
}
