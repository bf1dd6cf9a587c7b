package dynamic

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// singleCall is one call that one server answers, on its way. It belongs to the caller's goroutine.
type singleCall struct {
	method  *clientMethod
	route   *route
	pending *pendingCall
	direct  bool // an answer is welcome without a claim

	started   time.Time
	published time.Time
	granted   time.Time
	server    string // the one that was granted the call
}

// roundTrip sends an encoded request and returns the encoded response.
func (m *clientMethod) roundTrip(ctx context.Context, r *route, body wire.Body, o requestOptions) ([]byte, error) {
	conn := m.conn
	c := singleCall{
		method:  m,
		route:   r,
		pending: newPendingCall(),
		direct:  m.method.Queue() || !m.method.RequireClaim(),
		started: time.Now(),
	}
	if ctx.Err() != nil {
		return nil, c.interrupted(ctx.Err())
	}
	timeout, expiry := conn.bounds(ctx, c.started, o)
	request := wire.Request{
		RequestID: c.pending.id[:], ClientID: conn.wireID,
		SentAt: c.started.UnixNano(), Expiry: expiry.UnixNano(),
		Body: body, AcceptDirect: m.method.RequireClaim() && c.direct,
	}
	frame, err := request.AppendFrame(nil)
	if err != nil {
		return nil, errors.NewErrorf(errors.MalformedRequest, "request of %s cannot be encoded: %w", m.method.FullName(), err)
	}
	conn.pending.add(c.pending)
	defer conn.pending.remove(c.pending)
	if err := conn.bus.Publish(ctx, r.requests, frame, c.pending); err != nil {
		return nil, c.unpublished(err)
	}
	c.published = time.Now()
	timer := startTimer(timeout)
	defer stopTimer(timer)
	return c.wait(ctx, timer.C)
}

// wait returns when the call has succeeded or failed.
func (c *singleCall) wait(ctx context.Context, timeout <-chan time.Time) ([]byte, error) {
	for {
		response, ended, err := c.proceed(ctx)
		if ended || err != nil {
			return response, err
		}
		select {
		case <-c.pending.wake:
		case <-timeout:
			return nil, c.interrupted(context.DeadlineExceeded)
		case <-ctx.Done():
			return nil, c.interrupted(ctx.Err())
		case <-c.method.conn.done:
			return nil, c.failed(errors.ErrClientClosed, errors.ReasonClosed)
		case <-c.method.conn.bus.Done():
			return nil, c.failed(bus.ErrClosed, errors.ReasonBusDown)
		}
	}
}

// proceed acts upon what has come, and returns the encoded response if the call has ended with it.
func (c *singleCall) proceed(ctx context.Context) (response []byte, ended bool, err error) {
	news := c.pending.look()
	switch {
	case news.answered && news.response.Error != "":
		err = errors.FromWire(errors.ErrorCode(news.response.Code), news.response.Error, news.response.Details)
	case news.answered && (c.direct || c.server != ""):
		return news.response.Body.Raw, true, nil
	case news.publishErr != nil:
		err = c.unpublished(news.publishErr)
	case len(news.claims) > 0:
		err = c.grant(ctx, news.claims[0])
	case news.unheard:
		err = c.failed(errors.ErrNoResponse, errors.ReasonNobodyListening)
	}
	return nil, false, err
}

// grant tells all servers that the one with this claim shall run the request. Only the first claim counts.
func (c *singleCall) grant(ctx context.Context, claim wire.ClaimRequest) error {
	if c.server != "" {
		return nil
	}
	choice := wire.ClaimResponse{RequestID: c.pending.id[:], ServerID: claim.ServerID}
	frame, err := choice.AppendFrame(nil)
	if err != nil {
		return errors.NewErrorf(errors.Internal, "claim on %s: %w", c.method.method.FullName(), err)
	}
	if err := c.method.conn.bus.Publish(ctx, c.route.grants, frame, nil); err != nil {
		return c.unpublished(err)
	}
	c.server, c.granted = string(claim.ServerID), time.Now()
	return nil
}

// unpublished is the error of a call whose frames the bus does not carry.
func (c *singleCall) unpublished(err error) error {
	coded, ok := errors.AsType[errors.Error](err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return c.interrupted(err)
	case errors.Is(err, bus.ErrFrameTooLarge):
		return c.failed(err, errors.ReasonTooLarge)
	case ok && coded.Code() == errors.Unavailable:
		return c.failed(err, errors.ReasonBusDown)
	default:
		return c.failed(errors.NewErrorf(errors.Internal, "the bus did not take the request: %w", err), errors.ReasonBusDown)
	}
}

// interrupted is the error of a call that ended before its answer came.
func (c *singleCall) interrupted(err error) error {
	coded := errors.FromContext(err)
	switch {
	case coded.Code() == errors.Canceled:
		return c.failed(coded, errors.ReasonCanceled)
	case c.published.IsZero():
		return c.failed(coded, errors.ReasonDeadline)
	case c.server != "":
		return c.failed(coded, errors.ReasonClaimedButSilent)
	case c.direct:
		return c.failed(coded, errors.ReasonSilent)
	default: // nobody can have run the request
		return c.failed(errors.ErrNoResponse, errors.ReasonSilent)
	}
}

// failed adds to err what is known of the call.
func (c *singleCall) failed(err error, reason errors.Reason) error {
	now := time.Now()
	facts := errors.CallFacts{
		Method: c.method.method.FullName(), Topic: c.route.topic,
		Reason: reason, ServerID: c.server, Claims: len(c.pending.look().claims),
	}
	switch {
	case c.published.IsZero():
		facts.Phase, facts.PublishTime = errors.PhasePublish, now.Sub(c.started)
	case c.direct && c.server == "":
		facts.Phase, facts.PublishTime = errors.PhaseResponse, c.published.Sub(c.started)
		facts.ResponseTime = now.Sub(c.published)
	case c.server == "":
		facts.Phase, facts.PublishTime = errors.PhaseSelection, c.published.Sub(c.started)
		facts.SelectionTime = now.Sub(c.published)
	default:
		facts.Phase, facts.PublishTime = errors.PhaseResponse, c.published.Sub(c.started)
		facts.SelectionTime, facts.ResponseTime = c.granted.Sub(c.published), now.Sub(c.granted)
	}
	return errors.WithFacts(err, facts)
}
