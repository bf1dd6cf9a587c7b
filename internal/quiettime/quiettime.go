package quiettime

import (
	"context"
	"time"
)

// Func returns how long a multi call waits for another response after it has received the given
// number of responses, which is at least 1. It is called on the goroutine that receives the
// responses.
type Func func(responses int) time.Duration

type key struct{}

// With returns a context for one multi call. The call ends when no further response arrives for the
// time that wait returns, even if servers are known that have not responded. On a bus that does not
// count receivers, the call sends no discovery request, because it need not know the servers.
func With(ctx context.Context, wait Func) context.Context {
	return context.WithValue(ctx, key{}, wait)
}

// Of returns the function that was passed to [With], or nil.
func Of(ctx context.Context) Func {
	wait, _ := ctx.Value(key{}).(Func)
	return wait
}
