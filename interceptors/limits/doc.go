// Package limits provides interceptors that reject excess calls with the code resource_exhausted.
// They can be used on servers, services and conns.
//
// # Ordering
//
// Pass limits before other interceptors, so that rejecting a call costs as little as possible. To
// retry the calls that a limit rejects on a conn, pass interceptors.Retry before the limit.
//
// # Behaviour under load
//
// Limits never queue calls: each call is either admitted or rejected immediately. A server that
// rejects a request reports that it did not run the request (see [dynamic.IsUnprocessed]), so
// clients may safely retry it.
package limits
