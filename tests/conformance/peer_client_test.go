package conformance_test

import (
	"sync"
	"time"
)

// peerClient is the client of the reference peer. It behaves like a psrpc client of one service.
// Its requests and responses are StringValue messages, and its methods take and return their texts.
type peerClient struct {
	link    link
	service string
	id      string
	// skipsClaim is set if the client behaves like newer psrpc versions, which permit servers to
	// run requests without a grant.
	skipsClaim bool

	mu      sync.Mutex
	calls   map[string]*peerCall // keyed by request ID
	streams streamTable
}

// peerCall receives the frames of one call.
type peerCall struct{ claims, responses chan message }

// newPeerClient returns a client that has subscribed to its channels.
func newPeerClient(l link, service, id string) *peerClient {
	c := &peerClient{link: l, service: service, id: id, calls: map[string]*peerCall{}}
	l.listen(clientAddress(service, id, "CLAIM"), false, func(f frame) {
		if call := c.find(f.inner.text(claimID)); call != nil {
			offer(call.claims, f.inner)
		}
	})
	l.listen(clientAddress(service, id, "RES"), false, func(f frame) {
		if call := c.find(f.inner.text(responseID)); call != nil {
			offer(call.responses, f.inner)
		}
	})
	l.listen(clientAddress(service, id, "STR"), false, func(f frame) {
		if !expired(f.inner.int64(streamExpiry)) {
			c.streams.deliver(f.inner)
		}
	})
	return c
}

// offer sends a message to a channel, or drops the message if the channel is full.
func offer(to chan message, m message) {
	select {
	case to <- m:
	default:
	}
}

func (c *peerClient) find(id string) *peerCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[id]
}

// await creates a call that receives the frames with the given request ID until forget is called.
func (c *peerClient) await(id string) (call *peerCall, forget func()) {
	call = &peerCall{make(chan message, 100), make(chan message, 100)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[id] = call
	return call, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.calls, id)
	}
}

func (c *peerClient) request(id, body string, m method, timeout time.Duration) message {
	now := time.Now()
	return message{}.withText(requestID, id).withText(requestClient, c.id).
		withInt(requestSentAt, now.UnixNano()).withInt(requestExpiry, now.Add(timeout).UnixNano()).
		withBool(requestMulti, m.multi).withBytes(requestRaw, text(body)).withBool(requestSkipClaim, c.skipsClaim)
}

// call makes a call to one server.
func (c *peerClient) call(m method, body string, timeout time.Duration) (response string, err *failure) {
	id := newID("REQ_")
	call, forget := c.await(id)
	defer forget()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	send(c.link, m.requests(), typeRequest, c.request(id, body, m, timeout))
	if m.claim {
		answer, err := c.choose(m, id, call, deadline.C)
		if err != nil || answer != nil {
			return answered(answer, err)
		}
	}
	select {
	case answer := <-call.responses:
		return answered(answer, nil)
	case <-deadline.C:
		return "", &failure{"deadline_exceeded", "request timed out"}
	}
}

func answered(answer message, err *failure) (string, *failure) {
	switch {
	case err != nil:
		return "", err
	case answer.text(responseError) != "":
		return "", &failure{answer.text(responseCode), answer.text(responseError)}
	default:
		return textOf(answer.bytes(responseRaw)), nil
	}
}

// shortCircuit is how long a client waits for claims with a higher affinity. psrpc waits 200 ms,
// which is too short for tests on a busy machine.
const shortCircuit = 3 * time.Second

// choose waits for claims and grants the request to a server. It selects the first server that
// claims the request. For an affinity method, it selects the best of those that claim it soon after
// the first. As in psrpc, an error response that arrives during the selection is returned only if
// no server is selected, and a successful response is lost. If the client permits servers to run
// the request without a grant, choose returns the first response instead.
func (c *peerClient) choose(m method, id string, call *peerCall, deadline <-chan time.Time) (answer message, _ *failure) {
	phase := time.NewTimer(patience)
	defer phase.Stop()
	best, bestAffinity, failed := "", float32(0), message(nil)
	for waiting := true; waiting; {
		select {
		case claim := <-call.claims:
			if affinity := claim.float32(claimAffinity); affinity > bestAffinity {
				best, bestAffinity = claim.text(claimServer), affinity
			}
			if !m.affinity {
				best, waiting = claim.text(claimServer), false
			} else {
				phase.Reset(shortCircuit)
			}
		case response := <-call.responses:
			if c.skipsClaim {
				return response, nil
			}
			if response.text(responseError) != "" {
				failed = response
			}
		case <-phase.C:
			waiting = false
		case <-deadline:
			waiting = false
		}
	}
	if best == "" {
		return failed, &failure{"unavailable", "no response from servers"}
	}
	if !c.skipsClaim {
		send(c.link, m.grants(), typeClaimResponse, message{}.withText(claimID, id).withText(claimServer, best))
	}
	return nil, nil
}

// callMulti sends a request to all servers and waits for n responses. It returns fewer if no more
// arrive in time. A psrpc client would always wait until its timeout expires.
func (c *peerClient) callMulti(m method, body string, n int) (responses []message) {
	id := newID("REQ_")
	call, forget := c.await(id)
	defer forget()
	send(c.link, m.requests(), typeRequest, c.request(id, body, m, patience))
	for range n {
		if response, ok := soon(call.responses); ok {
			responses = append(responses, response)
		}
	}
	return responses
}

// open opens a stream.
func (c *peerClient) open(m method, timeout time.Duration) (*peerStream, *failure) {
	stream := newPeerStream(c.link, m.streams(), newID("STR_"), timeout)
	c.streams.add(stream)
	id := newID("REQ_")
	call, forget := c.await(id)
	defer forget()
	acked := stream.await(id)
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	stream.send(id, streamOpen, message{}.withText(openNode, c.id))
	if m.claim {
		if _, err := c.choose(m, id, call, deadline.C); err != nil {
			stream.close(err)
			return nil, err
		}
	}
	select {
	case <-acked:
		return stream, nil
	case <-deadline.C:
		err := &failure{"deadline_exceeded", "request timed out"}
		stream.close(err)
		return nil, err
	}
}
