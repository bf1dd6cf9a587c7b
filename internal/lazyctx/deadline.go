package lazyctx

import (
	"context"
	"time"
)

// deadlineContext is a context that ends at a time, with the function that ends it before.
type deadlineContext struct {
	context.Context //nolint:containedctx // it is a context

	cancel context.CancelFunc
}

func newDeadlineContext(parent context.Context, at time.Time) *deadlineContext {
	d := &deadlineContext{}
	d.Context, d.cancel = context.WithDeadline(parent, at)
	return d
}
