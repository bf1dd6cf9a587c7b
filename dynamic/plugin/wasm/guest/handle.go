package guest

import "context"

// Handler handles the requests for a method. After it returns, it must neither use the request nor
// modify the response.
//
// The deadline of ctx is the time at which the host stops the instance if the handler is still
// running. If the caller cancels the call, the host stops the instance without canceling ctx first.
//
// If the handler returns an [Error], or an error that wraps one, the caller receives its code, text
// and details. For any other error, the caller receives its text with the code [Unknown]. If the
// handler panics, the caller receives an error with the code [Internal], and the panic value is
// only logged, together with the stack.
type Handler func(ctx context.Context, request []byte) ([]byte, error)

// Handle registers the handler for a method, such as "pkg.Service/Method". It must be called in an
// init function or in the initializer of a package variable, because main is never called. The host
// refuses to load the plugin if a method has more than one handler, or if the handlers do not match
// the methods in the plugin's descriptors.
func Handle(method string, handler Handler) {
	registered.add(method, handler)
}

// registered contains the handlers of this program.
var registered handlerTable
