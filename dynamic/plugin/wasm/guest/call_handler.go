package guest

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// callHandler runs the handler of a method and converts a panic into an error. The panic value may
// contain data that the caller must not see. callHandler therefore logs the value and the stack,
// and leaves both out of the error.
func callHandler(ctx context.Context, method string, handler Handler, request []byte) (response []byte, err error) {
	defer func() {
		if value := recover(); value != nil {
			Log(slog.LevelError, fmt.Sprintf("the handler of %s panicked: %v\n%s", method, value, debug.Stack()))
			response, err = nil, Errorf(Internal, "the handler of %s panicked", method)
		}
	}()
	return handler(ctx, request)
}
