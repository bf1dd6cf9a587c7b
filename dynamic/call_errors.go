package dynamic

import (
	"context"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// classifyPublishError makes of the bus's error that of a call whose frames it does not carry.
func classifyPublishError(err error) (error, errors.Reason) { //nolint:staticcheck // the pair that failed takes
	coded, ok := errors.AsType[errors.Error](err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errors.FromContext(err), contextReason(err)
	case errors.Is(err, bus.ErrFrameTooLarge):
		return err, errors.ReasonTooLarge
	case ok && coded.Code() == errors.Unavailable:
		return err, errors.ReasonBusDown
	default:
		return errors.NewErrorf(errors.Internal, "the bus did not take the request: %w", err), errors.ReasonBusDown
	}
}

// contextReason is the reason for which a context's error ends a call.
func contextReason(err error) errors.Reason {
	if errors.Is(err, context.Canceled) {
		return errors.ReasonCanceled
	}
	return errors.ReasonDeadline
}

// contextError is the error of a call that ended before its answer came.
func (c *unaryCall) contextError(err error) error {
	coded := errors.FromContext(err)
	switch {
	case coded.Code() == errors.Canceled, !c.sent:
		return c.withFacts(coded, contextReason(err))
	case c.server != "":
		return c.withFacts(coded, errors.ReasonClaimedButSilent)
	case c.selecting: // nobody can have run the request
		if state := c.inbox.snapshot(); state.isError() {
			return serverError(state.failure)
		}
		return c.withFacts(c.claims.selection.err(), c.claims.failureReason())
	default:
		return c.withFacts(coded, errors.ReasonSilent)
	}
}

// failureReason is why no server could be chosen.
func (p *claimCollector) failureReason() errors.Reason {
	switch {
	case len(p.selection.rejected) > 0 && len(p.selection.acceptable) == 0:
		return errors.ReasonBelowMinimum
	case p.responders.count() > 0:
		return errors.ReasonAllDeclined
	default:
		return errors.ReasonSilent
	}
}

// withFacts adds to err what is known of the call.
func (c *unaryCall) withFacts(err error, reason errors.Reason) error {
	elapsed := time.Since(c.started)
	facts := errors.CallFacts{
		Method: c.plan.method.FullName(), Topic: c.route.topic, Reason: reason, ServerID: c.server,
	}
	if claims := c.claims; claims != nil {
		facts.Claims, facts.BestAffinity = claims.selection.count, claims.selection.highest
		facts.Declined = slices.Concat(claims.declined, claims.selection.rejected)
	}
	switch {
	case !c.sent:
		facts.Phase, facts.PublishTime = errors.PhasePublish, elapsed
	case c.selecting:
		facts.Phase, facts.PublishTime = errors.PhaseSelection, c.published
		facts.SelectionTime = elapsed - c.published
	case c.server == "":
		facts.Phase, facts.PublishTime = errors.PhaseResponse, c.published
		facts.ResponseTime = elapsed - c.published
	default:
		facts.Phase, facts.PublishTime = errors.PhaseResponse, c.published
		facts.SelectionTime, facts.ResponseTime = c.granted-c.published, elapsed-c.granted
	}
	return errors.WithFacts(err, facts)
}
