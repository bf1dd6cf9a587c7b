package dynamic

import (
	"bytes"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// maxClaims bounds the claims that one call keeps; a flood of more is not worth waiting for.
const maxClaims = 1024

// newsBox collects what has come for one call. The bus puts things in and never waits; the one goroutine that
// looks is woken through wake.
type newsBox struct {
	wake signal
	// ends is when the call's time is up, as its alarm counts; set before that may ring.
	ends int64

	mu   sync.Mutex
	news callNews
	// claimFirst says that a success counts only from a server that has claimed the request.
	claimFirst bool
}

// callNews is what has come for a call so far.
type callNews struct {
	claims     []wire.ClaimRequest
	server     []byte         // the one that has answered
	body       []byte         // encoded, of a success
	failure    *wire.Response // nil after a success
	publishErr error          // the bus lost the request, or the choice of a server
	receivers  int            // how many the bus says got the request; 0: nobody listens
	answered   bool           // a response has come; the first one counts
	afterClaim bool           // it came after a claim of its server
	late       bool           // the call's time is up
}

func newNewsBox(wake signal) newsBox {
	return newsBox{wake: wake, news: callNews{receivers: bus.Unknown}}
}

// look returns what has come so far.
func (b *newsBox) look() callNews {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.news
}

func (b *newsBox) responded(response wire.Response) bool {
	b.mu.Lock()
	claimed := !b.claimFirst || b.news.hasClaim(response.ServerID)
	useful := !b.news.answered && (claimed || response.Error != "")
	if useful {
		b.news.answered, b.news.afterClaim = true, claimed
		b.news.server, b.news.body = response.ServerID, response.Body.Raw
		if response.Error != "" {
			b.news.failure = &wire.Response{
				Code: response.Code, Error: response.Error, Details: response.Details, NotRun: response.NotRun,
			}
		}
	}
	b.mu.Unlock()
	b.wake.send()
	return useful
}

func (n *callNews) hasClaim(server []byte) bool {
	return slices.ContainsFunc(n.claims, func(claim wire.ClaimRequest) bool { return bytes.Equal(claim.ServerID, server) })
}

// connEnded wakes the caller, who looks at the conn.
func (b *newsBox) connEnded() { b.wake.send() }

// expired says that the call's time is up.
func (b *newsBox) expired() {
	b.mu.Lock()
	b.news.late = true
	b.mu.Unlock()
	b.wake.send()
}

// failed tells whether a server has answered with an error. A success counts only from a server that was chosen.
func (n *callNews) failed() bool { return n.answered && n.failure != nil }

// forgetResponse makes room for the answer of the server that was chosen, unless that is there already.
func (b *newsBox) forgetResponse(server string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claimFirst = false
	if string(b.news.server) != server || !b.news.afterClaim {
		b.news.answered, b.news.server, b.news.body, b.news.failure = false, nil, nil, nil
	}
}

func (b *newsBox) claimed(claim wire.ClaimRequest) bool {
	b.mu.Lock()
	room := len(b.news.claims) < maxClaims
	if room {
		b.news.claims = append(b.news.claims, claim)
	}
	b.mu.Unlock()
	b.wake.send()
	return room
}

// grantReport is a newsBox that takes the bus's report on the choice of a server.
type grantReport newsBox

// Published says that the choice was lost; how many servers got it does not matter.
func (g *grantReport) Published(_ int, err error) {
	if err == nil {
		return
	}
	b := (*newsBox)(g)
	b.mu.Lock()
	b.news.publishErr = err
	b.mu.Unlock()
	b.wake.send()
}

// Published takes the bus's report on the request.
func (b *newsBox) Published(receivers int, err error) {
	b.mu.Lock()
	b.news.receivers, b.news.publishErr = receivers, err
	matters := receivers == 0 || err != nil || len(b.news.claims) > 0 // otherwise it can wait for the answers
	b.mu.Unlock()
	if matters {
		b.wake.send()
	}
}
