package conformance_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// method describes a method to the reference peer. Both sides need this description, because it is
// never sent.
type method struct {
	target

	claim    bool // a server runs a request only if the client grants it
	affinity bool // the client selects the server with the highest affinity
	multi    bool // every server responds
}

// failure is an error in the form in which it is sent.
type failure struct{ code, text string }

func (f *failure) Error() string { return f.code + ": " + f.text }

// peerServer is the server of the reference peer. It behaves like a psrpc server.
type peerServer struct {
	link link
	id   string
	// skipsClaim is set if the server behaves like newer psrpc versions, which run a request
	// without waiting for a grant if the client permits it.
	skipsClaim bool

	mu sync.Mutex
	// grants receives the ID of the selected server for each request. It is keyed by request ID,
	// and the channels have capacity 1.
	grants map[string]chan string
}

func newPeerServer(l link, id string) *peerServer {
	return &peerServer{link: l, id: id, grants: map[string]chan string{}}
}

// handler handles a request. It receives and returns the texts of StringValue messages.
type handler func(request string) (response string, err *failure)

// serve serves a method until stop is called. stop waits for the running handlers. If affinity is
// nil, the affinity is always 1.
func (s *peerServer) serve(m method, affinity func() float32, handle handler) (stop func()) {
	var running sync.WaitGroup
	stopGrants := s.listenForGrants(m)
	stopRequests := s.link.listen(m.requests(), m.queue, func(f frame) {
		if f.typeName() != typeRequest || expired(f.inner.int64(requestExpiry)) {
			return
		}
		running.Go(func() { s.run(m, f.inner, affinity, handle) }) // stop waits for this goroutine
	})
	return func() {
		stopRequests()
		running.Wait()
		stopGrants()
	}
}

func (s *peerServer) run(m method, request message, affinity func() float32, handle handler) {
	id, client := request.text(requestID), request.text(requestClient)
	at := func(what string) address { return clientAddress(m.service, client, what) }
	skips := s.skipsClaim && request.int64(requestSkipClaim) != 0
	if m.claim && !s.claim(at("CLAIM"), id, request.int64(requestExpiry), affinity, skips) {
		return
	}
	response, err := handle(textOf(request.bytes(requestRaw)))
	answer := message{}.withText(responseID, id).withText(responseServer, s.id).withInt(responseSentAt, time.Now().UnixNano())
	if err != nil {
		answer = answer.withText(responseError, err.text).withText(responseCode, err.code)
	} else {
		answer = answer.withBytes(responseRaw, text(response))
	}
	send(s.link, at("RES"), typeResponse, answer)
}

// claim sends a claim, unless the affinity is negative, and reports whether the server may run the
// request. If skips is true, the server may run it immediately. Otherwise, claim waits for a grant
// until the request expires.
func (s *peerServer) claim(to address, id string, expiry int64, affinity func() float32, skips bool) bool {
	score := float32(1)
	if affinity != nil {
		score = affinity()
	}
	if score < 0 {
		return false
	}
	grant := make(chan string, 1)
	s.mu.Lock()
	s.grants[id] = grant
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.grants, id)
		s.mu.Unlock()
	}()
	send(s.link, to, typeClaimRequest, message{}.
		withText(claimID, id).withText(claimServer, s.id).withFloat(claimAffinity, score))
	if skips {
		return true
	}
	timer := time.NewTimer(time.Until(time.Unix(0, expiry)))
	defer timer.Stop()
	select {
	case chosen := <-grant:
		return chosen == s.id
	case <-timer.C:
		return false
	}
}

// listenForGrants passes the first grant for each request to the goroutine that waits for it. It
// drops all others.
func (s *peerServer) listenForGrants(m method) (stop func()) {
	return s.link.listen(m.grants(), false, func(f frame) {
		if f.typeName() != typeClaimResponse {
			return
		}
		s.mu.Lock()
		grant := s.grants[f.inner.text(claimID)]
		s.mu.Unlock()
		select {
		case grant <- f.inner.text(claimServer):
		default:
		}
	})
}

// serveStreams serves a streaming method until stop is called. A stream is closed with the error
// that its handler returns.
func (s *peerServer) serveStreams(m method, handle func(*peerStream) *failure) (stop func()) {
	var streams streamTable
	var running sync.WaitGroup
	stopGrants := s.listenForGrants(m)
	stopStreams := s.link.listen(m.streams(), false, func(f frame) {
		if f.typeName() != typeStream || expired(f.inner.int64(streamExpiry)) {
			return
		}
		if !f.inner.has(streamOpen) {
			streams.deliver(f.inner)
			return
		}
		running.Go(func() { // stop waits for this goroutine
			if m.claim {
				to := clientAddress(m.service, f.inner.sub(streamOpen).text(openNode), "CLAIM")
				if !s.claim(to, f.inner.text(streamRequest), f.inner.int64(streamExpiry), nil, false) {
					return
				}
			}
			s.handleStream(&streams, m, f.inner, handle)
		})
	})
	return func() {
		stopStreams()
		running.Wait()
		stopGrants()
	}
}

func (s *peerServer) handleStream(streams *streamTable, m method, open message, handle func(*peerStream) *failure) {
	client := open.sub(streamOpen).text(openNode)
	stream := newPeerStream(s.link, clientAddress(m.service, client, "STR"), open.text(streamID), patience)
	streams.add(stream)
	stream.ack(open)
	stream.close(handle(stream))
	streams.remove(stream)
}

func expired(expiry int64) bool { return time.Now().UnixNano() >= expiry }

var idCount atomic.Int64

// newID returns a unique ID that is as long as those of psrpc.
func newID(prefix string) string { return fmt.Sprintf("%s%012d", prefix, idCount.Add(1)) }
