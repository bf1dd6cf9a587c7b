package guest

import (
	"context"
	"slices"
)

// Handler handles the requests for a method. The request belongs to the caller again when the handler has returned; the
// response belongs to the caller from then on, until the next request is handled.
//
// The deadline of ctx is the time at which the host ends the instance, if the handler still runs then. If nobody waits for the
// response any more, the host ends the instance too: ctx does not tell.
//
// An [Error], or an error that wraps one, reaches the caller of the method with its code, text and details, any other as one of
// the code [Unknown]. A panic is an error too, of the code [Internal], without its value, which goes to the log with the stack.
type Handler func(ctx context.Context, request []byte) ([]byte, error)

// Handle registers the handler of a method, such as "pkg.Service/Method". It must be called before main is, by init
// functions or package variables. The host refuses the plugin if there is more than one handler for a method, if it serves
// methods that the descriptors of the plugin lack, or the other way round.
func Handle(method string, handler Handler) {
	served.add(method, handler)
}

// served is what the program serves.
var served table

// table is handlers by name of the method. The host knows them by their places, which must be the same in all instances,
// whatever the order in which they are registered.
type table struct {
	methods  []string // sorted
	handlers []Handler
}

func (t *table) add(method string, handler Handler) {
	place, _ := slices.BinarySearch(t.methods, method)
	t.methods = slices.Insert(t.methods, place, method)
	t.handlers = slices.Insert(t.handlers, place, handler)
}
