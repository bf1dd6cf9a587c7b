package selection

import "github.com/dynpsrpc/dynpsrpc/errors"

// choice applies Opts to claims, one after another. It reads no clock and keeps no timer.
type choice struct {
	opts       Opts
	count      int      // of all claims
	highest    float32  // affinity of all claims
	acceptable []*Claim // in the order of their arrival
	rejected   []string // server ids of claims below the minimum affinity
	best       *Claim   // highest positive affinity; nil if there is none
}

// add considers a claim and reports whether its server is selected at once.
func (c *choice) add(claim *Claim) (selected bool) {
	if c.count == 0 || claim.Affinity > c.highest {
		c.highest = claim.Affinity
	}
	c.count++
	// Written as a negation so that an affinity of NaN is rejected.
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

// choose returns the server to use when the selection ends. The id is empty if no claim is acceptable.
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

// err returns the error of a selection that found no server.
func (c *choice) err() errors.Error {
	if c.count == 0 {
		return errors.ErrNoResponse
	}
	return errors.NewErrorf(errors.Unavailable, "no servers available (received %d responses)", c.count)
}
