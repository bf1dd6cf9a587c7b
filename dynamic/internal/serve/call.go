package serve

import (
	"bytes"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// call is a request that the server has received, other than a request to open a stream. A
// goroutine of the server's worker pool handles it. A call copies the needed fields of the
// wire.Request, so that the rest can be garbage collected while the handler runs.
type call struct {
	requestBase

	// publishContext limits how long publishing the response may take. It is not derived from
	// context, because the response is sent even if context has ended.
	publishContext lazyctx.Timeout
	requestID      []byte
	// body is the encoded request message. It is nil once the message has been decoded.
	body     []byte
	metadata map[string]string

	// startedAt is the time at which the request arrived or, if the client selects a server, at
	// which the server began to handle the request. It is measured in nanoseconds from the epoch of
	// Engine.announcer, and is set only if there is a recorder or if sendsServedIn is set.
	startedAt int64
	// size is the number of bytes that the request keeps in memory: the size of the frame or, if
	// that is more, of the decompressed message.
	size uint32
	// memory records whether size bytes are reserved in Engine.decompressed for the request.
	memory memoryState
	// acceptDirect reports whether the client accepts a response without a claim.
	acceptDirect bool
	// mayDecline reports whether the server may decline the request although it needs no claim. In
	// that case, the client has sent the request to this server only, without knowing whether the
	// server is willing to handle it.
	mayDecline bool
	// started reports whether RecordStart has been called on the recorder.
	started bool
	// sendsServedIn reports whether the response must contain the time since startedAt, unless it is
	// marked as unprocessed; see [wire.Response.ServedIn].
	sendsServedIn bool
}

// memoryState records whether memory is reserved for a decompressed request. It is zero if the
// request was not compressed.
type memoryState uint8

const (
	// memoryReserved means that memory is reserved until the request ends.
	memoryReserved memoryState = iota + 1
	// memoryRefused means that there was no room for the request. The request is not handled.
	memoryRefused
)

// startCall decodes a request for e and starts a worker that serves it, without blocking.
// unicast reports whether the request was sent to this server only. token is the result of
// e.inFlight.Enter. The worker passes it to Leave when it is done. If startCall returns
// false, it has dropped the request, and the caller must pass the token to Leave.
func startCall(e *endpoint, frame []byte, unicast bool, token *lifecycle.Token) bool {
	s := e.plan.service
	request, expanded, err := transport.Decode(
		frame, wire.KindRequest, s.engine.limits, wire.ParseRequest)
	if err != nil {
		s.engine.drops.AddBad(e.inbound.channel, err)
		return false
	}
	c := &call{
		requestBase: requestBase{
			endpoint: e, token: token, client: s.clients.get(request.ClientID), sentAt: request.SentAt,
			acceptDecline: request.AcceptDecline,
		},
		requestID: request.RequestID, body: request.Body.Raw, metadata: request.Metadata,
		acceptDirect: request.AcceptDirect || request.AnnounceAfter > 0,
	}
	c.context.Info = c
	c.context.Parent = s.ctx
	now := time.Now()
	if e.hasEvents() {
		e.emit(Event{Kind: RequestReceived, Peer: c.client.id})
	}
	if !c.computeDeadline(now, request.Expiry, e.plan.method.RequireClaim()) {
		e.dropExpired(c.client, now.Sub(time.Unix(0, request.Expiry)))
		return false
	}
	needsGrant := c.needsGrant(unicast, request.SkipClaim)
	c.mayDecline = unicast && !needsGrant && e.plan.method.RequireClaim() && !e.plan.method.Queue()
	running := runningRequest{context: &c.context}
	if request.AnnounceAfter > 0 && !needsGrant {
		running.announceAt = s.engine.announcer.deadline(now, request.AnnounceAfter)
		running.announcement = announcement{c}
	}
	// Drop a request that the bus delivers a second time. A request that needs a grant requires no
	// such check: the client grants it only once, so at most one copy is handled.
	if !needsGrant && s.engine.requestDedup.Seen(0, c.requestID, c.sentAt, now) {
		s.engine.drops.Add(transport.DropDuplicated, transport.DroppedFrame{Method: e.plan.method, Peer: request.ClientID})
		return false
	}
	c.subscribers = e.subscribers()
	c.size = uint32(max(len(frame), expanded)) //nolint:gosec // no frame is larger
	if c.size > largeFrame {
		// The request ID is copied, so that the frame can be freed as soon as c.body is nil.
		c.requestID = bytes.Clone(c.requestID)
	}
	if expanded > 0 {
		c.reserveMemory()
	}
	c.timeFrom(now, unicast && !needsGrant)
	s.engine.running.add(c.requestID, running)
	if running.announceAt != 0 {
		s.engine.announcer.expect(running.announceAt)
	}
	if needsGrant {
		c.claim = s.engine.pendingClaims.register(
			c.requestID, c, e, max(len(frame), len(c.body)), c.context.Expiry)
	}
	if !s.engine.workers.Go(c) {
		c.deregister()
		return false
	}
	return true
}

// timeFrom sets the fields recorder and sendsServedIn and, if one of them needs it, startedAt. now
// is the time at which the request arrived. direct reports whether the client has sent the request
// to this server only and expects no claim.
func (c *call) timeFrom(now time.Time, direct bool) {
	c.sendsServedIn = direct && c.plan().method.Queue() && !c.plan().isLimited()
	if c.recorder = c.plan().recorder.Load(); c.recorder != nil || c.sendsServedIn {
		c.startedAt = c.plan().engine.announcer.since(now)
	}
}

// reserveMemory reserves memory for a decompressed request. If the memory for decompressed requests
// is used up, reserveMemory sets c.memory to memoryRefused.
func (c *call) reserveMemory() {
	if c.plan().engine.decompressed.TryTake(int(c.size)) {
		c.memory = memoryReserved
		return
	}
	c.memory, c.body = memoryRefused, nil
	c.plan().engine.drops.Add(transport.DropRefused, transport.DroppedFrame{
		Method: c.plan().method, Peer: []byte(c.client.id), Err: errDecompressionMemory,
	})
}

// errDecompressionMemory is the error in the log line about a request that reserveMemory refuses.
var errDecompressionMemory = errors.New("the server has reached its limit of memory for decompressed requests")

// deregister removes the request from the server's running requests and pending claims. It also
// releases the memory for the decompressed request.
func (c *call) deregister() {
	c.plan().engine.running.remove(c.requestID, &c.context)
	if c.claim != nil {
		c.plan().engine.pendingClaims.remove(c.claim)
	}
	if c.memory == memoryReserved {
		c.plan().engine.decompressed.Release(int(c.size))
	}
}

// finish releases everything that the request holds.
func (c *call) finish() {
	c.context.Cancel()
	c.deregister()
	c.endpoint.inFlight.Leave(c.token)
}

// grantDecided implements claimant.
func (c *call) grantDecided(granted bool) {
	c.granted = granted
	if !granted || !c.plan().engine.workers.Go(c) {
		c.countUngranted()
		c.finish()
	}
}

// RequestInfo implements transport.InfoProvider.
func (c *call) RequestInfo() transport.RequestInfo {
	return transport.NewRequestInfo(c.client.id, c.sentAt, c.endpoint.topic, c.metadata)
}

// acquireLimits counts the request towards the concurrency limits of the server and of the method.
// It returns false if either limit has been reached.
func (c *call) acquireLimits() bool {
	server, method := &c.plan().engine.semaphore, &c.plan().semaphore
	if !server.TryAcquire() {
		return false
	}
	if !method.TryAcquire() {
		server.Release()
		return false
	}
	return true
}

// releaseLimits undoes acquireLimits.
func (c *call) releaseLimits() {
	c.plan().semaphore.Release()
	c.plan().engine.semaphore.Release()
}

// atLimit reports whether the concurrency limit of the server or of the method is currently
// reached.
func (c *call) atLimit() bool {
	return c.plan().engine.semaphore.Full() || c.plan().semaphore.Full()
}

// needsGrant reports whether the server must wait for the client to select it before it handles the
// request. It need not wait if the method requires no claims. It also need not wait if the client
// sends no grant, because it has sent the request to this server only, or because the bus has
// chosen this server from a queue. If the method requires claims, a request that may have expired
// always needs a grant, which proves that the client is still waiting.
func (c *call) needsGrant(unicast, skipClaim bool) bool {
	method := c.plan().method
	// A dynpsrpc client that sets AnnounceAfter expects neither a claim nor a grant, which saves a
	// round trip. A psrpc client that sets SkipClaim sends no grant, but accepts a response only
	// after a claim.
	decided := unicast && c.acceptDirect || method.Queue() && (c.acceptDirect || skipClaim)
	return method.RequireClaim() && (!decided || c.maybeExpired)
}

// announcement is a task for the server's worker pool. The task is to tell a client that the server
// is handling its request.
type announcement struct{ call *call }

// serve publishes a claim that tells the client that the server is handling its request. If the
// claim cannot be sent, publishToClient logs a warning, because the client may then give up.
func (a announcement) serve() {
	c := a.call
	engine := c.plan().engine
	claim := wire.ClaimRequest{RequestID: c.requestID, ServerID: engine.wireID, Affinity: 1, Handling: true}
	frame, err := claim.AppendFrame(nil)
	if err != nil {
		// This cannot happen, because AppendFrame fails only if an ID is not valid UTF-8.
		return
	}
	ctx := lazyctx.Context{Parent: &c.context, Expiry: time.Now().Add(engine.Timeout)}
	defer ctx.Cancel()
	_ = engine.publishToClient(&ctx, c.plan().method, c.client.claims, frame)
}
