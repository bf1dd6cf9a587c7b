package selection

import (
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/timer"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// Collector gathers the claims of one call until a server is chosen. It belongs to the caller's
// goroutine and is not safe for concurrent use.
type Collector struct {
	choice     choice
	membership *Membership // nil unless the selection is adaptive
	seen       int         // number of claims that were considered
	receivers  int         // of the request, when the claims were last considered
	responders Responders  // servers that claimed or declined
	declined   []string    // ids of servers that declined

	started   time.Time
	timers    *timer.Pool
	timer     *time.Timer // ends the selection; nil without a timeout
	shortened bool        // the short-circuit timeout is running
}

// NewCollector returns a Collector without claims. If membership is not nil, the selection is adaptive:
// it ends as soon as every server has answered.
func NewCollector(opts Opts, membership *Membership) *Collector {
	return &Collector{choice: choice{opts: opts}, membership: membership}
}

// Start begins the wait for claims. Stop must be called afterwards.
func (c *Collector) Start(timers *timer.Pool) {
	c.started, c.timers = time.Now(), timers
	if timeout := c.choice.opts.AffinityTimeout; timeout > 0 {
		c.timer = timers.Start(timeout)
	}
}

// Stop releases the timer.
func (c *Collector) Stop() {
	if c.timer != nil {
		c.timers.Stop(c.timer)
	}
}

// Timeout returns a channel that receives when the selection must end. It is nil if only the timeout
// of the call ends the selection.
func (c *Collector) Timeout() <-chan time.Time {
	if c.timer == nil {
		return nil
	}
	return c.timer.C
}

// HasNew reports whether Add was not yet called with these claims and receivers. A nil Collector has
// seen no claims.
func (c *Collector) HasNew(claims []wire.ClaimRequest, receivers int) bool {
	if c == nil {
		return len(claims) > 0
	}
	return len(claims) > c.seen || len(claims) > 0 && receivers != c.receivers
}

// Add considers the claims that arrived since the last Add; claims holds all claims of the call. It
// returns the server that is selected at once, or else whether the selection can end because no
// further claim is expected.
func (c *Collector) Add(claims []wire.ClaimRequest, receivers int) (serverID string, selected, complete bool) {
	c.receivers = receivers
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
	return "", false, c.membership != nil && c.membership.LikelyComplete(receivers, &c.responders)
}

// startShortCircuit shortens the wait once there is an acceptable claim.
func (c *Collector) startShortCircuit() {
	opts := &c.choice.opts
	if c.shortened || opts.ShortCircuitTimeout <= 0 || len(c.choice.acceptable) == 0 {
		return
	}
	c.shortened = true
	remaining := opts.ShortCircuitTimeout
	if opts.AffinityTimeout > 0 {
		remaining = min(remaining, opts.AffinityTimeout-time.Since(c.started))
	}
	if c.timer == nil {
		c.timer = c.timers.Start(remaining)
	} else {
		c.timer.Reset(remaining)
	}
}

// Choose ends the selection and returns the chosen server. The id is empty if no claim is acceptable;
// err is that of Opts.SelectionFunc.
func (c *Collector) Choose() (serverID string, err error) { return c.choice.choose() }

// HasSelectionFunc reports whether the user chooses the server.
func (c *Collector) HasSelectionFunc() bool { return c.choice.opts.SelectionFunc != nil }

// Membership returns the membership of an adaptive selection, nil for others.
func (c *Collector) Membership() *Membership { return c.membership }

// UpdateMembership records which servers answered, including claims that arrived after the choice.
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

// Err returns the error of a selection that found no server, and the reason.
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

// AddFacts adds what the selection knows to the facts of a failed call.
func (c *Collector) AddFacts(facts *errors.CallFacts) {
	facts.Claims, facts.BestAffinity = c.choice.count, c.choice.highest
	facts.Declined = slices.Concat(c.declined, c.choice.rejected)
}
