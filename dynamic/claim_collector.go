package dynamic

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/timer"
)

// claimCollector is the part of a call in which the client chooses a server. It belongs to the caller's goroutine.
type claimCollector struct {
	selection  selection
	membership *membership // set if the selection is adaptive
	// seen is how many of the claims that have come were looked at.
	seen       int
	receivers  int        // what the bus had said by then
	responders responders // the servers that claimed or declined
	declined   []string   // ids of those that do not take the request

	started   time.Time
	timers    *timer.Pool
	timer     *time.Timer // ends the phase; nil if it was never started
	shortened bool        // the short circuit is on
}

func newClaimCollector(opts SelectionOpts) *claimCollector {
	return &claimCollector{selection: selection{opts: opts}}
}

// start begins the wait for claims.
func (p *claimCollector) start(timers *timer.Pool) {
	p.started, p.timers = time.Now(), timers
	if timeout := p.selection.opts.AffinityTimeout; timeout > 0 {
		p.timer = timers.Start(timeout)
	}
}

// stop releases the timer.
func (p *claimCollector) stop() {
	if p.timer != nil {
		p.timers.Stop(p.timer)
	}
}

// timeout fires when the phase is over; it is nil if nothing but the call's own timeout ends it.
func (p *claimCollector) timeout() <-chan time.Time {
	if p.timer == nil {
		return nil
	}
	return p.timer.C
}

// hasNew tells whether there is something to consider that was not yet.
func (p *claimCollector) hasNew(state *callState) bool {
	if p == nil {
		return len(state.claims) > 0
	}
	return len(state.claims) > p.seen || len(state.claims) > 0 && state.receivers != p.receivers
}

// addClaims takes the claims that have come since the last time. It returns the server that is selected at once,
// or else whether every server has answered.
func (p *claimCollector) addClaims(state *callState) (serverID string, selected, likelyComplete bool) {
	p.receivers = state.receivers
	for _, claim := range state.claims[p.seen:] {
		p.seen++
		server := string(claim.ServerID)
		p.responders.add(server, weightOf(claim.Subscribers))
		if claim.Declined {
			p.declined = append(p.declined, server)
			continue
		}
		if p.selection.add(&Claim{ServerID: server, Affinity: claim.Affinity}) {
			return server, true, false
		}
		p.startShortCircuit()
	}
	return "", false, p.membership != nil && p.membership.likelyComplete(state.receivers, &p.responders)
}

// startShortCircuit shortens the phase once an acceptable claim is there.
func (p *claimCollector) startShortCircuit() {
	opts := &p.selection.opts
	if p.shortened || opts.ShortCircuitTimeout <= 0 || len(p.selection.acceptable) == 0 {
		return
	}
	p.shortened = true
	remaining := opts.ShortCircuitTimeout
	if opts.AffinityTimeout > 0 {
		remaining = min(remaining, opts.AffinityTimeout-time.Since(p.started))
	}
	if p.timer == nil {
		p.timer = p.timers.Start(remaining)
	} else {
		p.timer.Reset(remaining)
	}
}

// updateMembership remembers who answered, those who came late included.
func (p *claimCollector) updateMembership(state *callState) {
	if p.membership == nil {
		return
	}
	for _, claim := range state.claims[p.seen:] {
		p.responders.add(string(claim.ServerID), weightOf(claim.Subscribers))
	}
	p.seen = len(state.claims)
	p.membership.update(state.receivers, &p.responders)
}
