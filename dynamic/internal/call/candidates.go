package call

import (
	"context"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Candidate is a server that has answered a request of [Plan.Candidates]. The fields are documented
// at dynamic.Candidate.
type Candidate struct {
	ServerID string
	Affinity float32
	Declined bool
	After    time.Duration
}

// CandidatesResult is the result of [Plan.Candidates]. The fields are documented at
// dynamic.CandidatesResult.
type CandidatesResult struct {
	Candidates   []Candidate
	Selected     string
	OneOfSeveral bool
	Receivers    int
	Silent       int
	Complete     bool
	Took         time.Duration
}

// Candidates asks the servers for claims, and then tells them that none of them is selected. It
// waits until all servers have answered, but no longer than Request.Timeout, which must be set. The
// servers of the method must claim requests.
func (p *Plan) Candidates(ctx context.Context, r *Route, request *Request) (*CandidatesResult, error) {
	c := &candidatesCall{plan: p, route: r, id: p.engine.ids.newRequest(), wakeup: queue.NewWakeup(), receivers: bus.Unknown}
	channel, frame, err := c.frame(request)
	if err != nil {
		return nil, errors.NewErrorf(errors.MalformedRequest, "request of %s cannot be encoded: %w", p.method.FullName(), err)
	}
	return c.run(ctx, channel, frame, request)
}

// candidatesCall collects the claims for one request of [Plan.Candidates]. Bus callbacks add to it
// and never block.
type candidatesCall struct {
	plan   *Plan
	route  *Route
	id     id.Call
	wakeup queue.Wakeup
	// published is the time just before the request was published.
	published time.Time

	mu sync.Mutex
	// answers holds the answers of the servers, converted for the result. claims holds them in the
	// form in which the servers have sent them.
	answers []Candidate
	claims  []wire.ClaimRequest
	// responders holds the servers that have answered. weight is the sum of their weights; see
	// [selection.Weight].
	responders selection.Responders
	weight     selection.Weight
	// receivers and publishErr are what the bus has reported about the request.
	receivers  int
	publishErr error
	// failure is the first error response. A server sends one if it cannot decode the request.
	failure *wire.Response
}

// frame returns the encoded request and its channel. The request expires no earlier than the
// request of a call, even if Candidates waits for less time. Otherwise, servers with slightly wrong
// clocks would answer calls, but not this request.
func (c *candidatesCall) frame(request *Request) (bus.Channel, []byte, error) {
	engine, now := c.plan.engine, time.Now()
	config := &engine.config
	timeout := min(max(request.Timeout, config.Timeout, config.DefaultTimeout), transport.MaxTimeout)
	expiry := now.Add(timeout).UnixNano()
	if c.plan.method.Kind() == registry.KindStream {
		streamID := engine.ids.newStream()
		open := wire.Stream{
			StreamID: streamID[:], RequestID: c.id[:], SentAt: now.UnixNano(), Expiry: expiry, Op: wire.StreamOpen,
			NodeID: engine.wireID, Metadata: request.Metadata,
		}
		frame, err := open.AppendFrame(nil)
		return c.route.streams, frame, err
	}
	outgoing := wire.Request{
		RequestID: c.id[:], ClientID: engine.wireID, SentAt: now.UnixNano(), Expiry: expiry,
		Metadata: request.Metadata, Body: request.Body, AcceptDecline: true,
	}
	frame, err := outgoing.AppendFrame(nil)
	return c.route.Requests, frame, err
}

// run publishes the request, waits for the answers, and tells the servers that have claimed it that
// none is selected.
func (c *candidatesCall) run(ctx context.Context, channel bus.Channel, frame []byte, request *Request) (*CandidatesResult, error) {
	engine := c.plan.engine
	c.plan.discover(c.route)
	c.plan.watch(c.route, c.wakeup, &c.responders)
	defer c.plan.unwatch(c.route, c.wakeup)
	engine.pending.add(c.id, c)
	defer engine.pending.remove(c.id)
	if err := engine.Err(); err != nil {
		return nil, err
	}
	c.published = time.Now()
	if err := engine.bus.Publish(ctx, channel, frame, c); err != nil {
		err, _ = transport.ClassifyError(err)
		return nil, err
	}
	complete, err := c.wait(ctx, request.Timeout)
	c.free(complete)
	if err != nil {
		return nil, err
	}
	return c.result(complete, request.Selection), nil
}

// wait waits until all servers have answered or the time limit has passed. It reports whether all
// have answered. If the bus or a server reports an error, or if ctx or the engine ends, it returns
// the error.
func (c *candidatesCall) wait(ctx context.Context, limit time.Duration) (complete bool, err error) {
	engine := c.plan.engine
	timer := engine.timers.Start(limit)
	defer engine.timers.Stop(timer)
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
		case <-engine.Done():
			return false, engine.Err()
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

// free tells the servers that none of them is selected. If complete is false, free also sends a
// cancellation, for dynpsrpc servers that have not answered yet.
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
func (c *candidatesCall) result(complete bool, opts *Selection) *CandidatesResult {
	result, claims := c.answered(complete)
	// The lock must not be held here, because selected calls the user's SelectionFunc.
	result.Selected = c.selected(opts, claims, result.Receivers)
	return result
}

// answered returns the result without the selected server, and the claims that have arrived.
func (c *candidatesCall) answered(complete bool) (*CandidatesResult, []wire.ClaimRequest) {
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
	return result, c.claims
}

// selected returns the ID of the server that a call would select among the claims, or an empty
// string if it would select none.
func (c *candidatesCall) selected(opts *Selection, claims []wire.ClaimRequest, receivers int) string {
	engine := c.plan.engine
	effective := selection.Opts{AcceptFirstAvailable: true}
	switch {
	case opts != nil:
		effective = opts.Opts
	case c.plan.method.Routing() == registry.RoutingAffinity:
		effective = engine.config.adaptiveSelection()
	}
	collector := selection.NewCollector(effective, nil)
	collector.Start(&engine.timers)
	defer collector.Stop()
	if server, selected, _ := collector.Add(claims, receivers); selected {
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

// onResponse implements pendingCall. It keeps only the first error. A server that has not been
// selected sends no response, unless it cannot decode the request.
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

// onClosed implements pendingCall. It does nothing, because the method wait also waits for the
// end of the engine's context.
func (c *candidatesCall) onClosed() {}

// Delivered implements bus.DeliveryReport.
func (c *candidatesCall) Delivered(receivers int, err error) {
	c.mu.Lock()
	c.receivers, c.publishErr = receivers, err
	c.mu.Unlock()
	c.wakeup.Send()
}
