package lazyctx

import (
	"context"
	"time"
)

// deadlineContext is a standard library context together with its cancel function.
type deadlineContext struct {
	context.Context //nolint:containedctx // this type is itself a context

	cancel context.CancelFunc
}

func newDeadlineContext(parent context.Context, deadline time.Time) *deadlineContext {
	d := &deadlineContext{}
	d.Context, d.cancel = context.WithDeadline(parent, deadline)
	return d
}
