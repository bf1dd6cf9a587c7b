package selection

import (
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"
	"github.com/dynpsrpc/dynpsrpc/internal/timer"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// Collector collects the claims of one call and selects one of the servers that have sent them. A
// Collector is not safe for concurrent use.
type Collector struct {
	choice choice
	// membership is nil unless the selection is adaptive.
	membership *Membership
	// candidates is the number of servers to which the request was sent, or zero if it was sent to
	// all servers.
	candidates int
	// seen is the number of claims processed so far.
	seen int
	// receivers is the number of receivers of the request, as passed to the last call to Add.
	receivers int
	// responders holds the servers that have claimed or declined the request.
	responders Responders
	// watching reports whether Watch has been called.
	watching bool
	// changes is the result of membership.Changes at the last call to Add. A different result now
	// means that servers have joined or left since then. changes is used only if watching is true.
	changes uint64
	// declined holds the IDs of the servers that have declined the request.
	declined []string

	started time.Time
	timers  *timer.Pool
	// timer ends the selection when it fires. It is nil if there is no timeout.
	timer *time.Timer
	// end is the time at which the timer fires.
	end time.Time
	// graced reports whether the timer has been set to wait for psrpc servers, which do not
	// announce themselves.
	graced bool
	// shortened reports whether Opts.ShortCircuitTimeout is running.
	shortened bool
}

// NewCollector returns a Collector without claims. If membership is not nil, the selection is
// adaptive: it ends as soon as every server has answered.
func NewCollector(opts Opts, membership *Membership) *Collector {
	return &Collector{choice: choice{opts: opts}, membership: membership}
}

// NewCandidatesCollector returns a Collector for a request that was sent to only some of the
// servers. candidates is their number. The selection ends as soon as all of them have claimed or
// declined the request.
func NewCandidatesCollector(opts Opts, candidates int) *Collector {
	return &Collector{choice: choice{opts: opts}, candidates: candidates}
}

// Watch makes the membership wake w when servers join or leave; see [Membership.Watch]. The caller
// must call Unwatch when the call has ended. The Collector must have a membership.
func (c *Collector) Watch(w queue.Wakeup) {
	c.watching = true
	c.membership.Watch(w, &c.responders)
}

// Unwatch undoes Watch.
func (c *Collector) Unwatch(w queue.Wakeup) { c.membership.Unwatch(w) }

// Start starts the selection timeout, if there is one. The caller must call Stop when the call has
// ended.
func (c *Collector) Start(timers *timer.Pool) {
	c.started, c.timers = time.Now(), timers
	if timeout := c.choice.opts.AffinityTimeout; timeout > 0 {
		c.timer, c.end = timers.Start(timeout), c.started.Add(timeout)
	}
}

// Stop releases the timer. For a nil Collector, it does nothing.
func (c *Collector) Stop() {
	if c != nil && c.timer != nil {
		c.timers.Stop(c.timer)
	}
}

// Timeout returns a channel that receives a value when the selection must end. The channel is nil
// if only the timeout of the call limits the selection.
func (c *Collector) Timeout() <-chan time.Time {
	if c.timer == nil {
		return nil
	}
	return c.timer.C
}

// HasNew reports whether claims have arrived, the number of receivers has changed, or servers have
// joined or left since the last call to Add. If it returns true, Add must be called. Before the
// first claim arrives, HasNew returns false. For a nil Collector, all claims are new.
func (c *Collector) HasNew(claims []wire.ClaimRequest, receivers int) bool {
	if c == nil {
		return len(claims) > 0
	}
	return len(claims) > c.seen || len(claims) > 0 && (receivers != c.receivers || c.watching && c.membership.Changes() != c.changes)
}

// Add processes the claims that have arrived since the last call to Add. claims holds all claims of
// the call. If a server is selected immediately, Add returns its ID and selected is true.
// Otherwise, complete is true if no more claims are expected, so that the selection can end.
func (c *Collector) Add(claims []wire.ClaimRequest, receivers int) (serverID string, selected, complete bool) {
	c.receivers = receivers
	if c.watching {
		c.changes = c.membership.Changes()
	}
	for _, claim := range claims[c.seen:] {
		c.seen++
		server := string(claim.ServerID)
		c.responders.Add(server, WeightOf(claim.Subscribers))
		if claim.Declined {
			c.declined = append(c.declined, server)
			continue
		}
		if c.choice.add(&Claim{ServerID: server, Affinity: claim.Affinity}) {
			return server, true, false
		}
		c.startShortCircuit()
	}
	if c.candidates > 0 {
		return "", false, c.responders.Count() >= c.candidates
	}
	complete = c.membership != nil && c.membership.LikelyComplete(receivers, &c.responders)
	if complete && c.membership.mayMissPsrpc(receivers) {
		// All servers that have announced themselves have answered. psrpc servers do not announce
		// themselves, so the selection waits for them, and may thus take twice as long as it has
		// taken so far.
		if !c.graced {
			c.graced = true
			c.Limit(time.Since(c.started))
		}
		return "", false, false
	}
	return "", false, complete
}

// startShortCircuit starts the timeout Opts.ShortCircuitTimeout if there is a claim whose affinity
// is not below the minimum. It does nothing if this timeout is already running.
func (c *Collector) startShortCircuit() {
	opts := &c.choice.opts
	if c.shortened || opts.ShortCircuitTimeout <= 0 || len(c.choice.acceptable) == 0 {
		return
	}
	c.shortened = true
	c.Limit(opts.ShortCircuitTimeout)
}

// Limit makes the selection end after the duration d, unless it ends earlier anyway. It must be
// called after Start.
func (c *Collector) Limit(d time.Duration) {
	end := time.Now().Add(d)
	switch {
	case c.timer == nil:
		c.timer = c.timers.Start(d)
	case end.Before(c.end):
		c.timer.Reset(d)
	default:
		return
	}
	c.end = end
}

// Choose ends the selection and returns the ID of the selected server, or "" if there is none. If
// Opts.SelectionFunc is set, Choose returns its results.
func (c *Collector) Choose() (serverID string, err error) { return c.choice.choose() }

// HasSelectionFunc reports whether Opts.SelectionFunc is set.
func (c *Collector) HasSelectionFunc() bool { return c.choice.opts.SelectionFunc != nil }

// Membership returns the membership that an adaptive selection uses. It returns nil for other
// selections.
func (c *Collector) Membership() *Membership { return c.membership }

// UpdateMembership records in the membership which servers have answered the call. It includes
// servers whose claims arrived after the selection had ended.
func (c *Collector) UpdateMembership(claims []wire.ClaimRequest, receivers int) {
	if c.membership == nil {
		return
	}
	for _, claim := range claims[c.seen:] {
		c.responders.Add(string(claim.ServerID), WeightOf(claim.Subscribers))
	}
	c.seen = len(claims)
	c.membership.Update(receivers, &c.responders)
}

// HasAcceptable reports whether there is a claim whose affinity is not below the minimum.
func (c *Collector) HasAcceptable() bool { return len(c.choice.acceptable) > 0 }

// Err returns the error of a selection that has found no server. It also returns the reason to
// record in the errors.CallFacts.
func (c *Collector) Err() (errors.Error, errors.Reason) {
	switch {
	case len(c.choice.rejected) > 0 && len(c.choice.acceptable) == 0:
		return c.choice.err(), errors.ReasonBelowMinimum
	case c.responders.Count() > 0:
		return c.choice.err(), errors.ReasonAllDeclined
	default:
		return c.choice.err(), errors.ReasonSilent
	}
}

// AddFacts adds information about the selection to the facts of a failed call.
func (c *Collector) AddFacts(facts *errors.CallFacts) {
	facts.Claims, facts.BestAffinity = c.choice.count, c.choice.highest
	facts.Declined = slices.Concat(c.declined, c.choice.rejected)
}
