package guest

import "context"

// Handler handles the requests for a method. After the handler has returned, it must no longer use
// the request or modify the response.
//
// If the handler is still running at the deadline of ctx, the host stops the instance. If the
// caller cancels the call, the host stops the instance without canceling ctx first.
//
// If the handler returns an [Error], or an error that wraps one, the caller receives the code, text
// and details of the [Error]. For any other error, the caller receives the text with the code
// [Unknown]. If the handler panics, the caller receives an error with the code [Internal]. The
// panic value and the stack are only logged.
type Handler func(ctx context.Context, request []byte) ([]byte, error)

// Handle registers the handler for a method, such as "pkg.Service/Method". It must be called in an
// init function or in the initializer of a package variable, because main is never called. The host
// does not load the plugin if a method has more than one handler. The handlers must also match the
// methods in the plugin's descriptors.
func Handle(method string, handler Handler) {
	registered.add(method, handler)
}

// registered contains the handlers of this program.
var registered handlerTable
