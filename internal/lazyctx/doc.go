// Package lazyctx contains contexts that create their timer and their Done channel on first use.
//
// Every request, response and stream message is bounded by a deadline, but most handlers never call
// Done, and a bus only does so if it has to wait. A context from context.WithDeadline pays for its
// timer, channel and registration with the parent in any case: with such contexts instead of these,
// an in-process call takes 1.38 to 1.46 times as long and makes 20 allocations instead of 9.
//
// [Context] has a parent and a fixed deadline; [Timeout] has no parent and starts its timeout at
// the first use. Both are meant to be fields of a larger struct, so that they need no allocation of
// their own. Once the inner context exists they forward Value to it; the context package finds it
// that way and attaches child contexts without a goroutine for each.
package lazyctx
