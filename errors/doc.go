// Package errors provides the error type of this module. An [Error] has a code, a text and details,
// and is sent over the bus in both directions in psrpc's format.
//
// The package is a superset of the standard errors package: [New], [Is], [As], [AsType], [Join],
// [Unwrap] and [ErrUnsupported] behave identically, so a file needs only one of the two imports.
//
// A handler returns an error created with [NewError] or [NewErrorf]. The caller gets an [Error]
// with the same code, text and details. Use [As] or [AsType] to extract it, or [Is] to compare it
// with a predefined error such as [ErrNoResponse]; Is also works for errors received over the bus.
// Codes translate to and from gRPC, HTTP and Twirp. The gRPC status package accepts every [Error],
// and [As] converts one to a twirp.Error.
//
// # Debugging
//
// An error of a call that failed in transport contains facts: [FactsOf] returns the method, the
// phase in which the call failed, the reason, and the time spent in each phase.
//
// # Concurrency
//
// All values of this package are immutable and all functions are safe for concurrent use.
package errors
