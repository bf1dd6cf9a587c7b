package guest

import (
	"slices"
	"strings"
	"time"
)

// handlerTable contains the handlers, sorted by method name. The host identifies a method by its
// index in the table. Because the table is sorted, the indexes are the same in all instances,
// whatever the order in which the handlers are registered.
type handlerTable struct {
	methods  []string // the sorted names of the methods
	handlers []Handler
}

func (t *handlerTable) add(method string, handler Handler) {
	index, _ := slices.BinarySearch(t.methods, method)
	t.methods = slices.Insert(t.methods, index, method)
	t.handlers = slices.Insert(t.handlers, index, handler)
}

// describe returns the names of the methods, one per line.
func (t *handlerTable) describe() string {
	return strings.Join(t.methods, "\n")
}

// call runs the handler for the method with the given index and returns the response. If failed is
// true, response is an encoded error.
func (t *handlerTable) call(index int, request []byte, deadline time.Time) (response []byte, failed bool) {
	if index < 0 || index >= len(t.handlers) {
		return encodeError(Errorf(Unimplemented, "there is no method %d", index)), true
	}
	ctx := &requestContext{deadline: deadline}
	defer ctx.end()
	response, err := callHandler(ctx, t.methods[index], t.handlers[index], request)
	if err != nil {
		return encodeError(err), true
	}
	return response, false
}
