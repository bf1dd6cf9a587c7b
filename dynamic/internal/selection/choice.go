package selection

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Opts controls how one of the servers that claim a request is selected. The fields are documented
// at dynamic.SelectionOpts.
type Opts struct {
	MinimumAffinity      float32
	MaximumAffinity      float32
	AcceptFirstAvailable bool
	AffinityTimeout      time.Duration
	ShortCircuitTimeout  time.Duration
	SelectionFunc        func(claims []*Claim) (serverID string, err error)
}

// Claim is a server's offer to handle a request.
type Claim struct {
	ServerID string
	Affinity float32
}

// choice applies Opts to claims, one at a time. It does not use the clock or a timer.
type choice struct {
	opts Opts
	// count is the number of claims.
	count int
	// highest is the highest affinity of any claim.
	highest float32
	// acceptable holds the claims whose affinity is not below the minimum, in order of arrival.
	acceptable []*Claim
	// rejected holds the IDs of the servers whose affinity is below the minimum.
	rejected []string
	// best is the claim with the highest positive affinity. It is nil if there is none.
	best *Claim
}

// add processes a claim and reports whether its server is selected immediately.
func (c *choice) add(claim *Claim) (selected bool) {
	if c.count == 0 || claim.Affinity > c.highest {
		c.highest = claim.Affinity
	}
	c.count++
	// The condition is written as a negation so that an affinity of NaN is rejected.
	if c.opts.MinimumAffinity > 0 && !(claim.Affinity >= c.opts.MinimumAffinity) {
		c.rejected = append(c.rejected, claim.ServerID)
		return false
	}
	c.acceptable = append(c.acceptable, claim)
	if c.opts.AcceptFirstAvailable || c.opts.MaximumAffinity > 0 && claim.Affinity >= c.opts.MaximumAffinity {
		return true
	}
	if claim.Affinity > 0 && (c.best == nil || claim.Affinity > c.best.Affinity) {
		c.best = claim
	}
	return false
}

// choose is called when the selection ends. It returns the ID of the selected server, or "" if
// there is none. If Opts.SelectionFunc is set, choose returns its results.
func (c *choice) choose() (serverID string, err error) {
	switch {
	case c.opts.SelectionFunc != nil:
		return c.opts.SelectionFunc(c.acceptable)
	case c.best != nil:
		return c.best.ServerID, nil
	default:
		return "", nil
	}
}

// err returns the error of a selection that has found no server.
func (c *choice) err() errors.Error {
	if c.count == 0 {
		return errors.ErrNoResponse
	}
	return errors.NewErrorf(errors.Unavailable, "no servers available (received %d responses)", c.count)
}
