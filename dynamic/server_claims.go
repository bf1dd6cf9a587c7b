package dynamic

import (
	"container/list"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

const (
	// DefaultMaxPendingClaims is the default of [WithMaxPendingClaims].
	DefaultMaxPendingClaims = 16_384
	// DefaultMaxPendingClaimBytes is the default of [WithMaxPendingClaimBytes].
	DefaultMaxPendingClaimBytes = 256 << 20
	// DefaultGrantTimeout is the default of [WithGrantTimeout].
	DefaultGrantTimeout = 2 * time.Minute
)

// pendingClaims holds the requests that a server has received and for which the client has not yet
// selected a server. Clients decide how many there are and when they expire, so their number, their
// size and the time are limited. A request that waits has no goroutine.
type pendingClaims struct {
	options *serverOptions
	// evicted is called without mu for each request that a limit has evicted.
	evicted func(claim *pendingClaim)

	mu sync.Mutex
	// byID contains the latest request with each request ID.
	byID map[string]*pendingClaim
	// arrivals contains the elements of type *pendingClaim in order of arrival.
	arrivals list.List
	// bytes is the total size of the requests in arrivals.
	bytes int
}

// claimant is a request that needs a grant.
type claimant interface {
	// grantDecided continues with the request on a goroutine of its own if the client has selected
	// this server, and releases the request otherwise. It never blocks.
	grantDecided(granted bool)
}

// pendingClaim is a request in pendingClaims. Its fields are guarded by the mu of pendingClaims,
// except for those that do not change.
type pendingClaim struct {
	claimant  claimant
	endpoint  *endpoint
	requestID string
	size      int
	timer     *time.Timer
	// request is the decoded message while the request is parked. Only claimant uses it.
	request wire.Body

	element *list.Element
	// parked reports whether the claim has been sent and the request has no goroutine. Before that,
	// the goroutine that sends the claim learns the decision from park.
	parked           bool
	decided, granted bool
}

// register adds a request, which must happen before its claim is sent, because the client may
// select a server as soon as it has received the claim. As in psrpc, a request replaces an earlier
// request with the same ID: the earlier one cannot be granted any more. size is the number of bytes
// that the request keeps in memory. expiry is the time at which the client stops waiting.
func (p *pendingClaims) register(
	requestID []byte, claimant claimant, e *endpoint, size int, expiry time.Time,
) *pendingClaim {
	claim := &pendingClaim{claimant: claimant, endpoint: e, requestID: string(requestID), size: size}
	p.mu.Lock()
	if p.byID == nil {
		p.byID = map[string]*pendingClaim{}
	}
	p.byID[claim.requestID] = claim
	claim.element = p.arrivals.PushBack(claim)
	p.bytes += size
	if untilExpiry := time.Until(expiry); untilExpiry <= p.options.grantTimeout {
		claim.timer = time.AfterFunc(untilExpiry, func() { p.decide(claim, false) })
	} else {
		claim.timer = time.AfterFunc(p.options.grantTimeout, func() { p.evict(claim) })
	}
	tooMany := p.removeExcessLocked()
	p.mu.Unlock()
	for _, claim := range tooMany {
		p.evicted(claim)
		claim.release()
	}
	return claim
}

// evict drops a request that waits for longer than the server's limit.
func (p *pendingClaims) evict(claim *pendingClaim) {
	if p.decide(claim, false) {
		p.evicted(claim)
	}
}

// removeExcessLocked removes the oldest requests while there are too many, but not the latest one,
// and returns them.
func (p *pendingClaims) removeExcessLocked() (removed []*pendingClaim) {
	for p.arrivals.Len() > p.options.maxPendingClaims ||
		p.bytes > p.options.maxPendingClaimBytes && p.arrivals.Len() > 1 {
		oldest := p.arrivals.Front().Value.(*pendingClaim)
		p.decideLocked(oldest, false)
		removed = append(removed, oldest)
	}
	return removed
}

// park ends the work on a request until the client has selected a server. If it has done so already,
// park returns true and the decision. Otherwise the goroutine that has sent the claim must not touch
// the request any more.
func (p *pendingClaims) park(claim *pendingClaim) (granted, decided bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !claim.decided {
		claim.parked = true
	}
	return claim.granted, claim.decided
}

// remove removes a request that the server does not handle, or that it has handled. It does nothing
// if the request has been removed already.
func (p *pendingClaims) remove(claim *pendingClaim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decideLocked(claim, false)
}

// resolve passes the client's selection to the request. Only the first selection for a request
// counts. A selection for an unknown request is ignored: all servers of a method receive the
// selection, including those that did not claim the request.
func (p *pendingClaims) resolve(requestID []byte, granted bool) {
	p.mu.Lock()
	claim := p.byID[string(requestID)]
	p.mu.Unlock()
	if claim != nil {
		p.decide(claim, granted)
	}
}

// abandon decides for all requests for which ended returns true that they have not been granted.
func (p *pendingClaims) abandon(ended func(e *endpoint) bool) {
	var abandoned []*pendingClaim
	p.mu.Lock()
	for element := p.arrivals.Front(); element != nil; {
		claim := element.Value.(*pendingClaim)
		element = element.Next()
		if ended(claim.endpoint) {
			p.decideLocked(claim, false)
			abandoned = append(abandoned, claim)
		}
	}
	p.mu.Unlock()
	for _, claim := range abandoned {
		claim.release()
	}
}

// decide removes a request and passes the decision to it. It returns false if the request has been
// removed already.
func (p *pendingClaims) decide(claim *pendingClaim, granted bool) bool {
	p.mu.Lock()
	first := p.decideLocked(claim, granted)
	p.mu.Unlock()
	if first {
		claim.release()
	}
	return first
}

// decideLocked removes a request and stores the decision in it. It returns false if the request has
// been removed already. After it, the caller calls release without mu.
func (p *pendingClaims) decideLocked(claim *pendingClaim, granted bool) bool {
	if claim.decided {
		return false
	}
	claim.decided, claim.granted = true, granted
	claim.timer.Stop()
	p.arrivals.Remove(claim.element)
	p.bytes -= claim.size
	if p.byID[claim.requestID] == claim {
		delete(p.byID, claim.requestID)
	}
	return true
}

// release passes the decision to a request that has no goroutine. After the decision, parked does
// not change any more.
func (c *pendingClaim) release() {
	if c.parked {
		c.claimant.grantDecided(c.granted)
	}
}

// claimOffer holds everything a server needs to claim a call or a stream open.
//
// Claims and grants ensure that exactly one server handles a request that the bus delivers to
// several servers. Each server that can handle the request publishes a claim with its affinity. The
// client selects one of these servers and publishes a grant that names it, which all of them
// receive. Only the client can make this decision, because it alone receives all claims and knows
// whether it is still waiting.
type claimOffer struct {
	plan      *serverPlan
	requestID []byte
	// needsGrant reports whether the server waits until the client has selected it.
	needsGrant bool
	client     *clientEntry
	// subscribers is the value that endpoint.subscribers returned when the request arrived.
	subscribers uint32
	affinity    func() float32
	// acceptDecline reports whether the client understands claims that decline a request.
	acceptDecline bool
}

// send sends the claim and reports whether the server offers to handle the request.
//
// If the affinity is negative, the server does not handle the request. In that case send sends a
// claim that declines the request, so that the client does not have to wait for this server. If the
// client does not understand such claims, send sends nothing.
func (o *claimOffer) send(ctx context.Context) bool {
	server := o.plan.server
	affinity := o.plan.callAffinity(ctx, o.affinity)
	claim := wire.ClaimRequest{
		RequestID: o.requestID, ServerID: server.wireID, Affinity: affinity, Declined: affinity < 0,
		Handling: !o.needsGrant && affinity >= 0, Subscribers: o.subscribers,
	}
	if claim.Declined && !o.acceptDecline || ctx.Err() != nil {
		return false
	}
	frame, err := claim.AppendFrame(nil)
	if err != nil {
		// This cannot happen: AppendFrame fails only for invalid UTF-8, and both IDs are valid.
		server.options.logger.Error("dynpsrpc: cannot encode claim",
			slog.String("method", o.plan.method.FullName()), slog.Any("error", err))
		return false
	}
	// publishToClient logs the error, if there is one.
	err = server.publishToClient(ctx, o.plan.method, o.client.claims, frame)
	return !claim.Declined && err == nil
}
