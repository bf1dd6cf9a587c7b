// Package lazyctx contains contexts that create their timer and their Done channel on first use.
//
// Every request, response and stream message has a deadline. However, most handlers never call
// Done, and a bus calls Done only if it has to wait. A context created by context.WithDeadline
// always pays for its timer, its channel and its registration with the parent. If this module used
// such contexts, an in-process call would take 1.38 to 1.46 times as long and make 20 allocations
// instead of 9.
//
// A [Context] has a parent and a fixed deadline. A [Timeout] has no parent, and its time starts to
// run on first use. Both types are meant to be fields of a larger struct, so that they need no
// allocation of their own. The timer and the Done channel belong to an inner context from the
// standard library. Once the inner context exists, Value forwards keys to it. The context package
// can then attach child contexts to the inner context without starting a goroutine for each child.
package lazyctx
