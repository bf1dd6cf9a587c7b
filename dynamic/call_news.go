package dynamic

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// maxClaims bounds the claims that one call keeps; a flood of more is not worth waiting for.
const maxClaims = 1024

// newsBox collects what has come for one call. The bus puts things in and never waits; the one goroutine that
// looks is woken through wake, perhaps for nothing.
//
// It is used for one call after the other, see [newsBoxPool]. What comes by way of the pending calls is for the present
// one. But a bus may report on a request, and the alarm ring, when the call has ended: both say which one they mean.
type newsBox struct {
	wake  signal
	alarm alarm

	mu   sync.Mutex
	id   id.Call // of the call's request; the caller alone changes it, and reads it without the lock
	news callNews
	// claimFirst says that a success counts only from a server that has claimed the request. The caller alone changes it,
	// without the lock until the call is pending.
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

var noNews = callNews{receivers: bus.Unknown}

// newNewsBox returns a box with an alarm that counts from epoch.
func newNewsBox(epoch time.Time) *newsBox {
	b := &newsBox{wake: newSignal(), news: noNews}
	b.alarm.epoch, b.alarm.expired = epoch, b.expired
	b.alarm.stop()
	return b
}

// newsBoxPool keeps boxes for later calls. It belongs to a conn, since channels and timers made in a testing/synctest
// bubble must stay in it.
type newsBoxPool struct {
	unused sync.Pool
	epoch  time.Time // of the alarms; must be set
}

// get returns a box for a new call. Put it back, unless somebody else still has it.
func (p *newsBoxPool) get() *newsBox {
	b, ok := p.unused.Get().(*newsBox)
	if !ok {
		b = newNewsBox(p.epoch)
	}
	b.begin(id.NewRequest())
	return b
}

// put takes back the box of a call that has ended: one that is not pending, nor watched by the alarm.
func (p *newsBoxPool) put(b *newsBox) {
	b.begin(id.Call{}) // lets go of what has come
	p.unused.Put(b)
}

// begin empties the box, for the call with this id.
func (b *newsBox) begin(call id.Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.id, b.news, b.claimFirst = call, noNews, false
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
				Code: response.Code, Error: response.Error, Details: response.Details, Unprocessed: response.Unprocessed,
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

// expired says that the call's time is up, unless the box is another call's by now.
func (b *newsBox) expired(ends int64) {
	b.mu.Lock()
	if b.alarm.ends.Load() == ends {
		b.news.late = true
	}
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

// requestReport takes the bus's report on the request of one call.
type requestReport struct {
	box  *newsBox
	call id.Call
}

// Published takes the bus's report.
func (r *requestReport) Delivered(receivers int, err error) {
	b := r.box
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.id != r.call {
		return
	}
	b.news.receivers, b.news.publishErr = receivers, err
	if receivers == 0 || err != nil || len(b.news.claims) > 0 { // otherwise it can wait for the answers
		b.wake.send()
	}
}

// grantReport takes the bus's report on the choice of a server.
type grantReport requestReport

// Published says that the choice was lost; how many servers got it does not matter.
func (g *grantReport) Delivered(_ int, err error) {
	b := g.box
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil || b.id != g.call {
		return
	}
	b.news.publishErr = err
	b.wake.send()
}
