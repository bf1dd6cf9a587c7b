// Package errors provides the error type of this module. An [Error] has a code, a text and details,
// and can be sent over the bus in psrpc's format.
//
// The package is a superset of the standard errors package: [New], [Is], [As], [AsType], [Join],
// [Unwrap] and [ErrUnsupported] behave identically. A file that imports this package does not need
// to import the standard one.
//
// A handler returns an error created with [NewError] or [NewErrorf]. The caller receives an [Error]
// with the same code, text and details. Use [As] or [AsType] to extract it, or [Is] to compare it
// with a predefined error such as [ErrNoResponse]. [Is] also works for errors that were received
// over the bus. Codes can be converted to and from the codes of gRPC, HTTP and Twirp. The gRPC
// status package accepts every [Error], and [As] can convert one to a twirp.Error.
//
// # Debugging
//
// If a call fails because of the bus, because no server responded, or because it was canceled or
// timed out, its error contains diagnostic facts. [FactsOf] returns them: the method, the phase in
// which the call failed, the reason, and the time spent in each phase.
//
// # Concurrency
//
// All values in this package are immutable, and all functions are safe for concurrent use.
package errors
