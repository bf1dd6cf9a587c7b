package dynamic

import "time"

// claimPhase is the part of a call in which the client chooses a server. It belongs to the caller's goroutine.
type claimPhase struct {
	selection selection
	roster    *roster // set if the selection is adaptive
	// considered is how many of the claims that have come were looked at.
	considered int
	receivers  int        // what the bus had said by then
	answered   attendance // the servers that claimed or declined
	declined   []string   // ids of those that do not take the request

	started time.Time
	timers  *timerPool
	timer   *time.Timer // ends the phase; nil if it was never started
	short   bool        // the short circuit is on
}

func newClaimPhase(opts SelectionOpts) *claimPhase {
	return &claimPhase{selection: selection{opts: opts}}
}

// start begins the wait for claims.
func (p *claimPhase) start(timers *timerPool) {
	p.started, p.timers = time.Now(), timers
	if timeout := p.selection.opts.AffinityTimeout; timeout > 0 {
		p.timer = timers.start(timeout)
	}
}

// stop releases the timer.
func (p *claimPhase) stop() {
	if p.timer != nil {
		p.timers.stop(p.timer)
	}
}

// timeout fires when the phase is over; it is nil if nothing but the call's own timeout ends it.
func (p *claimPhase) timeout() <-chan time.Time {
	if p.timer == nil {
		return nil
	}
	return p.timer.C
}

// isNews tells whether there is something to consider that was not yet.
func (p *claimPhase) isNews(news *callNews) bool {
	if p == nil {
		return len(news.claims) > 0
	}
	return len(news.claims) > p.considered || len(news.claims) > 0 && news.receivers != p.receivers
}

// consider takes the claims that have come since the last time. It returns the server that is selected at once,
// or else whether every server has answered.
func (p *claimPhase) consider(news *callNews) (serverID string, selected, complete bool) {
	p.receivers = news.receivers
	for _, claim := range news.claims[p.considered:] {
		p.considered++
		server := string(claim.ServerID)
		p.answered.add(server, shareOf(claim.Subscribers))
		if claim.Declined {
			p.declined = append(p.declined, server)
			continue
		}
		if p.selection.add(&Claim{ServerID: server, Affinity: claim.Affinity}) {
			return server, true, false
		}
		p.shortCircuit()
	}
	return "", false, p.roster != nil && p.roster.usual(news.receivers, &p.answered)
}

// shortCircuit shortens the phase once an acceptable claim is there.
func (p *claimPhase) shortCircuit() {
	opts := &p.selection.opts
	if p.short || opts.ShortCircuitTimeout <= 0 || len(p.selection.acceptable) == 0 {
		return
	}
	p.short = true
	remaining := opts.ShortCircuitTimeout
	if opts.AffinityTimeout > 0 {
		remaining = min(remaining, opts.AffinityTimeout-time.Since(p.started))
	}
	if p.timer == nil {
		p.timer = p.timers.start(remaining)
	} else {
		p.timer.Reset(remaining)
	}
}

// learn remembers who answered, those who came late included.
func (p *claimPhase) learn(news *callNews) {
	if p.roster == nil {
		return
	}
	for _, claim := range news.claims[p.considered:] {
		p.answered.add(string(claim.ServerID), shareOf(claim.Subscribers))
	}
	p.considered = len(news.claims)
	p.roster.learn(news.receivers, &p.answered)
}
