package dynamic

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// DefaultCandidatesWait is how long [Candidates] waits for the claims of servers by default.
const DefaultCandidatesWait = 300 * time.Millisecond

// Candidate is a server that has answered a request of [Candidates].
type Candidate struct {
	ServerID string
	// Affinity is the affinity of the server's claim. It is negative if the server has declined,
	// but psrpc servers decline by not answering.
	Affinity float32
	// Declined reports whether the server does not take the request.
	Declined bool
	// After is the time from the publication of the request to the answer.
	After time.Duration
}

// CandidatesResult says which servers would handle a request.
type CandidatesResult struct {
	// Candidates holds the servers that have answered, in order of arrival, at most 1,024.
	Candidates []Candidate
	// Selected is the ID of the server that a call with the same options would select among the
	// claims. It is empty if it would select none.
	Selected string
	// OneOfSeveral reports whether the bus gives each request to one of the servers only, because
	// the method is a queue. Candidates then holds one server, and the next call may get another.
	OneOfSeveral bool
	// Receivers is the number of receivers of the request, or [bus.Unknown] if the bus does not
	// count them. Servers that share a connection to Redis are one receiver.
	Receivers int
	// Silent is the number of receivers that have not answered, or [bus.Unknown]. They are psrpc
	// servers that have declined, or servers that hang.
	Silent int
	// Complete reports whether all servers that are known have answered, so that waiting longer
	// would not have found more.
	Complete bool
	// Took is the time from the publication of the request to the end of the wait.
	Took time.Duration
}

// Candidates finds out which servers would handle a request, and runs no handler. It asks all
// servers of the method for a claim, as a call does, and then tells them that none of them is
// selected. This also works with psrpc servers. The name and the request are as described for
// [Invoke]. For a stream, the request must be nil.
//
// Candidates returns as soon as all servers have answered. On a bus that does not count receivers,
// it also waits 0.2 s for psrpc servers. It waits no longer than [DefaultCandidatesWait], or the
// time set with [WithRequestTimeout]. If nobody listens, the result has no receivers and no
// candidates. Interceptors and hooks do not run, but the request has the metadata of ctx and opts.
// A psrpc server whose claim arrives after Candidates has returned keeps the request until it
// expires, but does not run it.
//
// Candidates returns an error with code failed_precondition, and publishes nothing, if the servers
// of the method do not claim requests: multi calls, subscriptions, streams that all servers accept,
// and methods with a single server. Other errors are those of [Invoke].
func Candidates(ctx context.Context, c *Conn, name string, request any, opts ...RequestOption) (*CandidatesResult, error) {
	plan, message, err := c.resolveInvocation(ctx, name, request, opts)
	if err != nil {
		return nil, err
	}
	o := newRequestOptions(opts)
	r, err := plan.candidatesRoute(request, message, &o)
	if err != nil {
		return nil, err
	}
	asked := &candidatesCall{plan: plan, route: r, id: c.newRequestID(), wakeup: queue.NewWakeup(), receivers: bus.Unknown}
	return asked.run(ctx, message, &o)
}

// candidatesRoute checks the arguments of [Candidates] and returns the route.
func (p *clientPlan) candidatesRoute(request any, message proto.Message, o *requestOptions) (*route, error) {
	kind := p.method.Kind()
	if !p.method.RequireClaim() || kind != registry.KindSingle && kind != registry.KindStream {
		return nil, errors.NewErrorf(errors.FailedPrecondition,
			"the servers of %s do not claim requests: they would run the request at once, so nothing was sent", p.method.FullName())
	}
	if kind == registry.KindStream {
		if request != nil {
			return nil, errors.NewErrorf(errors.InvalidArgument,
				"%s is a stream, which is opened without a message: pass nil", p.method.FullName())
		}
	} else if err := p.requests.Check(message); err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "request of %s: %w", p.method.FullName(), err)
	}
	return p.route(nil, o)
}

// candidatesCall collects the claims for one request of [Candidates]. Bus callbacks add to it and
// never block.
type candidatesCall struct {
	plan   *clientPlan
	route  *route
	id     id.Call
	wakeup queue.Wakeup
	// published is the time just before the request was published.
	published time.Time

	mu sync.Mutex
	// claims holds the answers of the servers as they have arrived, and answers the same answers in
	// the form of the result.
	answers []Candidate
	claims  []wire.ClaimRequest
	// responders holds the servers that have answered, and weight is the sum of their weights: of
	// the parts of a receiver for which they count.
	responders selection.Responders
	weight     selection.Weight
	// receivers and publishErr are what the bus has reported.
	receivers  int
	publishErr error
	// failure is the error with which a server has answered, because it cannot decode the request.
	failure *wire.Response
}

// run publishes the request, waits for the answers, and tells the servers that have claimed it that
// none is selected.
func (c *candidatesCall) run(ctx context.Context, message proto.Message, o *requestOptions) (*CandidatesResult, error) {
	conn := c.plan.conn
	wait := DefaultCandidatesWait
	if o.timeout > 0 {
		wait = o.timeout
	}
	channel, frame, err := c.frame(ctx, message, wait, o)
	if err != nil {
		return nil, errors.NewErrorf(errors.MalformedRequest, "request of %s cannot be encoded: %w", c.plan.method.FullName(), err)
	}
	c.plan.discover(c.route)
	c.plan.watch(c.route, c.wakeup, &c.responders)
	defer c.plan.unwatch(c.route, c.wakeup)
	conn.pending.add(c.id, c)
	defer conn.pending.remove(c.id)
	if conn.err() != nil {
		err, _ := conn.closeError()
		return nil, err
	}
	c.published = time.Now()
	if err := conn.bus.Publish(ctx, channel, frame, c); err != nil {
		err, _ = transport.ClassifyError(err)
		return nil, err
	}
	complete, err := c.wait(ctx, wait)
	c.free(complete)
	if err != nil {
		return nil, err
	}
	return c.result(complete, o), nil
}

// frame returns the encoded request and its channel. As the request of a call, it expires after the
// conn's timeout, so that servers with a wrong clock answer as they would answer a call.
func (c *candidatesCall) frame(
	ctx context.Context, message proto.Message, wait time.Duration, o *requestOptions,
) (bus.Channel, []byte, error) {
	conn, now := c.plan.conn, time.Now()
	timeout, _ := conn.bounds(ctx, now, &requestOptions{timeout: max(wait, conn.options.timeout, DefaultClientTimeout)})
	expiry := now.Add(timeout).UnixNano()
	if c.plan.method.Kind() == registry.KindStream {
		streamID := conn.newStreamID()
		open := wire.Stream{
			StreamID: streamID[:], RequestID: c.id[:], SentAt: now.UnixNano(), Expiry: expiry, Op: wire.StreamOpen,
			NodeID: conn.wireID, Metadata: o.outgoingMetadata(ctx),
		}
		frame, err := open.AppendFrame(nil)
		return c.route.streams, frame, err
	}
	request := wire.Request{
		RequestID: c.id[:], ClientID: conn.wireID, SentAt: now.UnixNano(), Expiry: expiry,
		Metadata: o.outgoingMetadata(ctx), Body: c.plan.requests.Body(message), AcceptDecline: true,
	}
	frame, err := request.AppendFrame(nil)
	return c.route.requests, frame, err
}

// wait waits until all servers have answered, and returns whether they have. If time is up, it
// returns false. If the bus or a server reports an error, or if ctx ends, it returns the error.
func (c *candidatesCall) wait(ctx context.Context, limit time.Duration) (complete bool, err error) {
	conn := c.plan.conn
	timer := conn.timers.Start(limit)
	defer conn.timers.Stop(timer)
	for {
		if complete, err := c.check(); complete || err != nil {
			return complete, err
		}
		select {
		case <-c.wakeup:
		case <-timer.C:
			return c.check()
		case <-ctx.Done():
			return false, errors.FromContext(ctx.Err())
		case <-conn.ctx.Done():
			err, _ := conn.closeError()
			return false, err
		}
	}
}

// check reports whether all servers have answered. It returns the error of the bus or of a server,
// if there is one.
func (c *candidatesCall) check() (complete bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.failure != nil:
		return false, c.plan.serverError(c.failure, c.route)
	case c.publishErr != nil:
		err, _ := transport.ClassifyError(c.publishErr)
		return false, err
	case c.receivers == 0 && len(c.answers) == 0:
		return true, nil
	case c.isQueued():
		return len(c.answers) > 0, nil
	case c.plan.presence != nil:
		return c.route.membership.IsComplete(c.receivers, &c.responders), nil
	default:
		return c.receivers > 0 && c.weight >= selection.OneReceiver*selection.Weight(c.receivers), nil
	}
}

// isQueued reports whether the bus gives the request to only one of the servers.
func (c *candidatesCall) isQueued() bool {
	return c.plan.method.Queue() && c.plan.method.Kind() == registry.KindSingle
}

// free tells the servers that none of them is selected. complete reports whether all servers have
// answered. Otherwise, free also sends a cancellation, for dynpsrpc servers that have not answered
// yet.
func (c *candidatesCall) free(complete bool) {
	c.mu.Lock()
	claims := c.claims
	c.mu.Unlock()
	if !complete {
		c.plan.cancel(c.id)
	}
	c.plan.selectNobody(c.route, c.id, claims)
}

// result returns the result for the answers that have arrived.
func (c *candidatesCall) result(complete bool, o *requestOptions) *CandidatesResult {
	took := time.Since(c.published)
	c.mu.Lock()
	defer c.mu.Unlock()
	result := &CandidatesResult{
		Candidates: c.answers, OneOfSeveral: c.isQueued(), Receivers: c.receivers, Silent: bus.Unknown,
		Complete: complete, Took: took,
	}
	switch {
	case c.receivers == 0 || result.OneOfSeveral && len(c.answers) > 0:
		result.Silent = 0
	case c.receivers > 0 && result.OneOfSeveral:
		result.Silent = 1
	case c.receivers > 0:
		result.Silent = max(c.receivers-int(c.weight/selection.OneReceiver), 0)
	}
	result.Selected = c.selected(o)
	return result
}

// selected returns the ID of the server that a call would select among the claims, or an empty
// string if it would select none.
func (c *candidatesCall) selected(o *requestOptions) string {
	conn := c.plan.conn
	opts := SelectionOpts{AcceptFirstAvailable: true}
	switch {
	case o.selection != nil:
		opts = *o.selection
	case c.plan.method.Routing() == registry.RoutingAffinity:
		opts = conn.options.adaptiveSelection()
	}
	collector := selection.NewCollector(opts.internal(), nil)
	collector.Start(&conn.timers)
	defer collector.Stop()
	if server, selected, _ := collector.Add(c.claims, c.receivers); selected {
		return server
	}
	server, err := collector.Choose()
	if err != nil {
		return "" // the caller's SelectionFunc selects no server
	}
	return server
}

// onClaim implements pendingCall.
func (c *candidatesCall) onClaim(claim wire.ClaimRequest) bool {
	after := time.Since(c.published)
	c.mu.Lock()
	server := string(claim.ServerID)
	useful := !c.responders.Has(server) && len(c.answers) < selection.MaxClaims
	if useful {
		weight := selection.WeightOf(claim.Subscribers)
		c.responders.Add(server, weight)
		c.weight += weight
		c.claims = append(c.claims, claim)
		c.answers = append(c.answers, Candidate{
			ServerID: server, Affinity: claim.Affinity, Declined: claim.Declined, After: after,
		})
	}
	c.mu.Unlock()
	c.wakeup.Send()
	return useful
}

// onResponse implements pendingCall. A server that has not been selected sends no response, unless
// it cannot decode the request.
func (c *candidatesCall) onResponse(response wire.Response) bool {
	c.mu.Lock()
	useful := c.failure == nil && response.Error != ""
	if useful {
		failure := response
		failure.Body = wire.Body{}
		c.failure = &failure
	}
	c.mu.Unlock()
	c.wakeup.Send()
	return useful
}

// onConnClosed implements pendingCall. It does nothing, because the method wait also waits for the
// end of the conn's context.
func (c *candidatesCall) onConnClosed() {}

// Delivered implements bus.DeliveryReport.
func (c *candidatesCall) Delivered(receivers int, err error) {
	c.mu.Lock()
	c.receivers, c.publishErr = receivers, err
	c.mu.Unlock()
	c.wakeup.Send()
}
