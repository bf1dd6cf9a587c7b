package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// pendingTable holds the calls of a conn that are under way.
type pendingTable struct {
	mu    sync.RWMutex
	calls map[id.Call]*pendingCall
}

func (t *pendingTable) add(call *pendingCall) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls == nil {
		t.calls = map[id.Call]*pendingCall{}
	}
	t.calls[call.id] = call
}

func (t *pendingTable) remove(call *pendingCall) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.calls, call.id)
}

// find returns nil if there is no such call.
func (t *pendingTable) find(requestID []byte) *pendingCall {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.calls[callID]
}

// maxClaims bounds the claims that one call keeps; a flood of more is not worth waiting for.
const maxClaims = 1024

// pendingCall collects what has come for one call. The bus adds to it and never waits; one goroutine takes from
// it, woken through wake.
type pendingCall struct {
	id   id.Call
	wake chan struct{} // room for one

	mu   sync.Mutex
	news callNews
}

// callNews is what has come for a call so far.
type callNews struct {
	claims     []wire.ClaimRequest
	response   wire.Response
	answered   bool  // response has come
	unheard    bool  // the bus says that nobody listens
	publishErr error // the bus lost the request
}

func newPendingCall() *pendingCall {
	return &pendingCall{id: id.NewRequest(), wake: make(chan struct{}, 1)}
}

// responded keeps the first response, and reports whether this was it.
func (c *pendingCall) responded(response wire.Response) bool {
	return c.update(func(news *callNews) bool {
		if news.answered {
			return false
		}
		news.response, news.answered = response, true
		return true
	})
}

// claimed reports whether there was room for the claim.
func (c *pendingCall) claimed(claim wire.ClaimRequest) bool {
	return c.update(func(news *callNews) bool {
		if len(news.claims) == maxClaims {
			return false
		}
		news.claims = append(news.claims, claim)
		return true
	})
}

// Published takes the bus's report on the request.
func (c *pendingCall) Published(receivers int, err error) {
	if receivers != 0 && err == nil {
		return
	}
	c.update(func(news *callNews) bool {
		news.unheard, news.publishErr = err == nil, err
		return true
	})
}

// update changes the news and wakes the caller if it made a difference.
func (c *pendingCall) update(change func(news *callNews) bool) bool {
	c.mu.Lock()
	changed := change(&c.news)
	c.mu.Unlock()
	if changed {
		select {
		case c.wake <- struct{}{}:
		default: // it will look anyway
		}
	}
	return changed
}

// look returns what has come so far.
func (c *pendingCall) look() callNews {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.news
}
