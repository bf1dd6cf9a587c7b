package dynamic

import (
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/serve"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Unprocessed marks err to say that the server has done no work for the request, so that the call
// can safely be retried. Handlers and interceptors on a server return the marked error, and the
// client detects the mark with [IsUnprocessed]. The code, text and details of err are preserved. If
// err is nil, Unprocessed returns nil.
//
// psrpc clients ignore the mark. It is not sent on streams.
func Unprocessed(err error) error { return serve.MarkUnprocessed(err) }

// IsUnprocessed reports whether err is the error of a call that the server rejected before
// processing the request. A server does so if it has reached a limit, for example on concurrent
// requests. It also does so if a handler or interceptor returns an error marked with [Unprocessed].
//
// Frames on the bus do not prove who sent them. Any peer that may publish on the response channels
// of clients can forge the mark while a server runs the request; see docs/security.md.
//
// The mark applies to one call only. If a handler returns the error of a call that it has made
// itself, the mark is not passed on to the handler's own caller, because the handler has already
// done some work.
func IsUnprocessed(err error) bool {
	_, refused := errors.AsType[call.UnprocessedError](err)
	return refused
}
