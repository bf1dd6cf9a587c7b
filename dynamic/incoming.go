package dynamic

import (
	"context"
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// incoming is one request being served, by a goroutine of its own.
//
// Of the wire.Request it keeps only what is needed until the answer, so that there is less memory to collect.
type incoming struct {
	listener       *endpoint
	method         *serverPlan
	place          *lifecycle.Token // in the listener's gate
	peer           *peer            // the client
	context        lazyContext
	publishContext lazyTimeout // bounds the publication of the response
	grant          chan bool   // the client's choice; nil if there is none to wait for

	requestID []byte
	body      []byte
	metadata  map[string]string
	sentAt    int64 // Unix time in nanoseconds by the client's clock, 0 if it did not say

	sharers                     uint32 // servers that the bus counts as one receiver, when the request came; 0 for one
	acceptDirect, acceptDecline bool   // as in the wire.Request
	doubtful                    bool   // it seems to have expired, but the client's clock may be wrong
	clockIsOff                  bool   // the client's clock was found to be wrong
}

// onRequest has a request served that has entered at a place. It never blocks, and reports false if there is nothing to serve.
func (e *endpoint) onRequest(frame []byte, place *lifecycle.Token) bool {
	r := e.plan.registration
	value, ok := decodeFrame(frame, wire.KindRequest, r.server.options.maxFrameSize)
	request, err := wire.ParseRequest(value)
	if !ok || err != nil {
		r.server.stats.badFrames.Add(1)
		return false
	}
	in := &incoming{
		listener: e, method: e.plan, place: place, peer: r.clients.get(request.ClientID),
		requestID: request.RequestID, body: request.Body.Raw, metadata: request.Metadata, sentAt: request.SentAt,
		acceptDirect: request.AcceptDirect, acceptDecline: request.AcceptDecline,
	}
	in.context.provider = in
	in.context.parent = r.ctx
	now := time.Now()
	if !in.schedule(now, request.Expiry) {
		r.server.stats.expired.Add(1)
		return false
	}
	needsGrant := in.needsGrant(request.SkipClaim)
	if !needsGrant && r.server.recentRequests.repeats(0, in.requestID, in.sentAt, now) {
		r.server.stats.duplicated.Add(1)
		return false
	}
	in.sharers = e.subscribers()
	in.grant = r.await(in.requestID, &in.context, needsGrant)
	if !r.server.workers.Go(in) {
		in.forget()
		return false
	}
	return true
}

// forget ends what the server does for the request.
func (in *incoming) forget() {
	in.method.registration.unawait(in.requestID, &in.context, in.grant)
}

// requestInfo returns what a handler can ask for.
func (in *incoming) requestInfo() RequestInfo {
	return newRequestInfo(in.peer.id, in.sentAt, in.metadata)
}

func (in *incoming) serve() {
	defer in.listener.inFlight.Leave(in.place)
	defer in.forget()
	defer in.context.cancel()
	var frame []byte
	answered := false
	defer func() {
		if !answered { // a panic, or runtime.Goexit
			frame = in.panicked(recover())
		}
		if frame != nil {
			in.send(frame)
		}
	}()
	frame = in.answer()
	answered = true
}

// admit reports whether the limits of the server and of the method leave room.
func (in *incoming) admit() bool {
	server, method := &in.method.registration.server.limit, &in.method.handler.limit
	if !server.enter() {
		return false
	}
	if !method.enter() {
		server.release()
		return false
	}
	return true
}

func (in *incoming) release() {
	in.method.handler.limit.release()
	in.method.registration.server.limit.release()
}

// full tells whether the limits leave no room at the moment.
func (in *incoming) full() bool {
	return in.method.registration.server.limit.full() || in.method.handler.limit.full()
}

// answer runs the request and returns the frame of its response, or nil if another server has it.
func (in *incoming) answer() []byte {
	request, err := in.method.handler.decode(in.body)
	if err != nil { // at once and without a claim, as psrpc does
		return in.failure(errors.NewError(errors.MalformedRequest, err))
	}
	if in.claims() && !in.obtainGrant(request) {
		if in.doubtful {
			in.method.registration.server.stats.expired.Add(1)
		}
		return nil
	}
	in.proved()
	in.warnOfClock()
	if !in.admit() {
		return in.failure(Unprocessed(errors.NewErrorf(errors.ResourceExhausted,
			"server %s handles as many requests of %s as it may", in.method.registration.server.ID(), in.method.method.FullName())))
	}
	defer in.release()
	response, err := in.listener.handle(&in.context, request)
	if err != nil {
		return in.failure(in.explain(err))
	}
	return in.success(response)
}

// explain says of a handler that gave up because its server was killed that another server may do better.
func (in *incoming) explain(err error) error {
	_, coded := errors.AsType[errors.Error](err)
	if coded || in.method.registration.ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return errors.NewErrorf(errors.Unavailable, "server %s was killed", in.method.registration.server.ID())
}

// needsGrant tells whether the client chooses among servers. One that takes a direct answer, or can do without the
// grant, leaves the choice of a queue to the bus, which has made it already.
func (in *incoming) needsGrant(skipClaim bool) bool {
	method := in.method.method
	decided := method.Queue() && (in.acceptDirect || skipClaim) && !in.doubtful
	return method.RequireClaim() && !decided
}

// claims tells whether the client is to hear of this server before the answer. psrpc's clients take none from a server
// that they do not know, even if it needs no grant.
func (in *incoming) claims() bool {
	return in.grant != nil || in.method.method.RequireClaim() && !in.acceptDirect
}

// obtainGrant claims the request and waits for the client's choice, if there is one to be made.
func (in *incoming) obtainGrant(request wire.Body) bool {
	return in.method.registration.obtainGrant(&in.context, in.offer(func() float32 {
		switch {
		case in.full(): // another server may have room
			return -1
		case in.method.handler.affinity == nil:
			return 1
		default:
			return in.method.handler.affinity(&in.context, request)
		}
	}))
}

func (in *incoming) offer(affinity func() float32) grantRequest {
	return grantRequest{
		method:    in.method,
		requestID: in.requestID,
		grant:     in.grant,
		peer:      in.peer,
		sharers:   in.sharers,
		affinity:  affinity,
		declines:  in.acceptDecline,
		closing:   in.listener.closing,
	}
}

func (in *incoming) success(body wire.Body) []byte {
	frame, err := in.response(&wire.Response{Body: body})
	if err != nil {
		return in.failure(errors.NewErrorf(errors.MalformedResponse,
			"response of %s cannot be encoded: %w", in.method.method.FullName(), err))
	}
	return frame
}

func (in *incoming) failure(failure error) []byte {
	code, text, details := errors.ToWire(failure)
	notRun := isNotRun(failure)
	frame, err := in.response(&wire.Response{Code: string(code), Error: text, Details: details, Unprocessed: notRun})
	if err != nil {
		in.method.registration.server.options.logger.Error("dynpsrpc: error details cannot be encoded",
			slog.String("method", in.method.method.FullName()), slog.Any("error", err))
		frame, _ = in.response(&wire.Response{Code: string(code), Error: text, Unprocessed: notRun})
	}
	return frame
}

// response completes an answer with what all have in common, and encodes it.
func (in *incoming) response(response *wire.Response) ([]byte, error) {
	response.RequestID = in.requestID
	response.ServerID = in.method.registration.server.wireID
	response.SentAt = time.Now().UnixNano()
	if in.method.method.Routing() == registry.RoutingMulti {
		response.Subscribers = in.sharers
	}
	return response.AppendFrame(nil)
}

// panicked logs what the caller must not see.
func (in *incoming) panicked(value any) []byte {
	in.method.panicked(&in.context, "handler", value)
	return in.failure(errors.NewErrorf(errors.Internal, "the handler of %s panicked", in.method.method.FullName()))
}

// send publishes the response, or says why it cannot.
func (in *incoming) send(frame []byte) {
	server := in.method.registration.server
	in.publishContext.limit = server.options.timeout
	defer in.publishContext.cancel()
	err := server.publishResponse(&in.publishContext, in.method.method, in.peer.responses, frame)
	if errors.Is(err, bus.ErrFrameTooLarge) {
		_ = server.publishResponse(&in.publishContext, in.method.method, in.peer.responses, in.tooLarge(err)) // logged there
	}
}

func (in *incoming) tooLarge(err error) []byte {
	return in.failure(errors.NewErrorf(errors.ResourceExhausted, "response of %s: %w", in.method.method.FullName(), err))
}
