// Package limits provides interceptors that reject excess calls with the code resource_exhausted.
// They can be used on servers, services and conns.
//
// # Ordering
//
// Pass limits before other interceptors, so that no other interceptor runs for a rejected call. On
// a conn, pass interceptors.Retry before the limit to retry the calls that the limit rejects.
//
// # Behaviour under load
//
// Limits never queue calls: each call is either admitted or rejected immediately. A server that
// rejects a request reports that it did not run the request (see [dynamic.IsUnprocessed]), so
// clients may safely retry the request. interceptors.Retry does so if the method is idempotent or
// the option WithTrustedServers is used.
package limits
