// Package errors holds the one error type of this module: an [Error] has a code, a text and details, and
// travels over the bus, in both directions, as psrpc sends it.
//
// It is a superset of the standard package of the same name: [New], [Is], [As], [AsType], [Join], [Unwrap]
// and [ErrUnsupported] are the standard ones, so a file needs only one of the two imports.
//
// Make a coded error with [NewError] or [NewErrorf] and return it from a handler. The caller gets an
// [Error] with the same code, text and details; find it with [As] or [AsType], or compare it with one of the
// predefined errors (such as [ErrNoResponse]) with [Is], which works across the bus too. A code translates
// to and from gRPC, HTTP and Twirp, and every [Error] is understood by grpc's status package and by As into
// a twirp.Error.
//
// A call that failed for a reason of the transport says what happened: [FactsOf] gives the method, the
// phase, the reason and how long each phase took.
//
// All values of this package are immutable and safe for concurrent use, and so are its functions.
package errors
