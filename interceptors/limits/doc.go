// Package limits provides interceptors that reject excess calls with the code resource_exhausted.
// They can be used on servers, services and conns.
//
// # Ordering
//
// Pass the options of this package before other interceptors, so that no other interceptor runs for
// a rejected call. However, to retry rejected calls on a conn, pass interceptors.Retry first.
//
// # Behavior under load
//
// The interceptors never queue calls: each call is either admitted or rejected immediately. A
// server that rejects a single or multi call reports that it did not run the request (see
// [dynamic.IsUnprocessed]), so clients may safely retry the request. interceptors.Retry does so if
// the method is idempotent or the option WithTrustedServers is used.
package limits
