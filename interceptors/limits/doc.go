// Package limits provides interceptors that reject excess calls with the code resource_exhausted,
// on servers, services and conns.
//
// # Ordering
//
// Give limits before other interceptors, so that rejected calls cost as little as possible. On a
// conn, interceptors.Retry must be outside a limit to retry the calls that the limit rejects.
//
// # Behaviour under load
//
// Limits never queue: a call is either admitted or rejected at once. A server reports that it did
// not run a rejected request, see [dynamic.IsUnprocessed], so clients may safely retry it.
package limits
