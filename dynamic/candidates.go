package dynamic

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// DefaultCandidatesWait is how long [Candidates] waits for the claims of servers by default.
const DefaultCandidatesWait = 300 * time.Millisecond

// Candidate is a server that has answered a request of [Candidates].
type Candidate struct {
	ServerID string
	// Affinity is the affinity of the server's claim. It is negative if a dynpsrpc server has
	// declined. A psrpc server declines by not answering, so it is not listed.
	Affinity float32
	// Declined reports whether the server has declined to handle the request.
	Declined bool
	// After is the time from the publication of the request to the answer.
	After time.Duration
}

// CandidatesResult is the result of [Candidates]: the servers that would handle a request.
type CandidatesResult struct {
	// Candidates holds the servers that have answered, in order of arrival, at most 1,024.
	Candidates []Candidate
	// Selected is the ID of the server that a call with the same options would select among the
	// claims. It is empty if the call would select none.
	Selected string
	// OneOfSeveral reports whether the bus gives each request to only one of the servers, because
	// the method is a queue. Candidates then holds at most one server, and the next request may go
	// to another.
	OneOfSeveral bool
	// Receivers is the number of receivers of the request, or [bus.Unknown] if the bus does not
	// count them. Servers that share a connection to Redis are one receiver.
	Receivers int
	// Silent is the number of receivers that have not answered, or [bus.Unknown]. They are psrpc
	// servers that have declined, or servers that hang.
	Silent int
	// Complete reports whether all known servers have answered. If so, a longer wait would have
	// found no more.
	Complete bool
	// Took is the time from the publication of the request to the end of the wait.
	Took time.Duration
}

// Candidates finds out which servers would handle a request, and runs no handler. Like a call, it
// asks the servers of the method for claims, but it then tells them that none of them is selected.
// This also works with psrpc servers. The name and the request are as described for [Invoke]. For a
// stream, the request must be nil.
//
// Candidates returns as soon as all servers have answered. On a bus that does not count receivers,
// the first use of a method and topic also waits 0.2 s for psrpc servers. In any case, Candidates
// waits no longer than [DefaultCandidatesWait], or the time set with [WithRequestTimeout]. If no
// server listens, the result has no receivers and no candidates. Interceptors and hooks do not run,
// but the request has the metadata of ctx and opts. A psrpc server whose claim arrives after
// Candidates has returned keeps the request until it expires, but does not run it.
//
// Candidates returns an error with code failed_precondition, and publishes nothing, if the servers
// of the method do not claim requests. This is the case for multi calls, subscriptions, streams
// that all servers accept, and methods with a single server. Other errors are those of [Invoke].
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
	outgoing := o.outgoing(ctx, plan.requests.Body(message))
	if outgoing.Timeout == 0 {
		outgoing.Timeout = DefaultCandidatesWait
	}
	found, err := plan.calls.Candidates(ctx, &r.Route, &outgoing)
	if err != nil {
		return nil, err
	}
	result := &CandidatesResult{
		Selected: found.Selected, OneOfSeveral: found.OneOfSeveral, Receivers: found.Receivers, Silent: found.Silent,
		Complete: found.Complete, Took: found.Took,
	}
	for _, candidate := range found.Candidates {
		result.Candidates = append(result.Candidates, Candidate(candidate))
	}
	return result, nil
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
