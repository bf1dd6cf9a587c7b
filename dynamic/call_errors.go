package dynamic

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// contextError is the error of a call that ended before its answer came.
func (c *unaryCall) contextError(err error) error {
	coded := errors.FromContext(err)
	switch {
	case coded.Code() == errors.Canceled, !c.sent:
		return c.withFacts(coded, transport.ContextReason(err))
	case c.server != "":
		return c.withFacts(coded, errors.ReasonClaimedButSilent)
	case c.selecting: // nobody can have run the request
		if state := c.inbox.snapshot(); state.isError() {
			return serverError(state.failure)
		}
		return c.withFacts(c.claims.Err())
	default:
		return c.withFacts(coded, errors.ReasonSilent)
	}
}

// withFacts adds to err what is known of the call.
func (c *unaryCall) withFacts(err error, reason errors.Reason) error {
	elapsed := time.Since(c.started)
	facts := errors.CallFacts{
		Method: c.plan.method.FullName(), Topic: c.route.topic, Reason: reason, ServerID: c.server,
	}
	if c.claims != nil {
		c.claims.AddFacts(&facts)
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
