package guest

import "context"

// Handler handles the requests of a method. It must not use the request after it returns, and it
// must not change the response after it returns.
//
// The deadline of ctx is the time at which the host ends the instance if the handler is still
// running. If the caller cancels the call, the host ends the instance without canceling ctx first.
//
// An [Error], or an error that wraps one, reaches the caller with its code, text and details. Any
// other error reaches the caller with its text and the code [Unknown]. After a panic the caller
// gets an error of the code [Internal] without the panic's value, which is logged with the stack.
type Handler func(ctx context.Context, request []byte) ([]byte, error)

// Handle registers the handler of a method such as "pkg.Service/Method". Call it before main, from
// an init function or the initializer of a package variable. The host refuses to load the plugin if
// a method has more than one handler, or if the handlers and the methods of the plugin's
// descriptors differ.
func Handle(method string, handler Handler) {
	registered.add(method, handler)
}

// registered holds the handlers of this program.
var registered handlerTable
