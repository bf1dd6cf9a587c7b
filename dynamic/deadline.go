package dynamic

import (
	"context"
	"time"
)

// deadline is a context that ends at a time, with the function that ends it before.
type deadline struct {
	context.Context //nolint:containedctx // it is a context

	cancel context.CancelFunc
}

func newDeadline(parent context.Context, at time.Time) *deadline {
	d := &deadline{}
	d.Context, d.cancel = context.WithDeadline(parent, at)
	return d
}
