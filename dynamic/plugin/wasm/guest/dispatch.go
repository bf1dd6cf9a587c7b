package guest

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"
)

// describe returns the methods, a line each.
func (t *table) describe() string {
	return strings.Join(t.methods, "\n")
}

// call runs the handler at the place and returns the response, or an encoded error.
func (t *table) call(place int, request []byte, deadline time.Time) (response []byte, failed bool) {
	if place < 0 || place >= len(t.handlers) {
		return encodeError(Errorf(Unimplemented, "there is no method %d", place)), true
	}
	ctx := &requestContext{deadline: deadline}
	defer ctx.end()
	response, err := guarded(ctx, t.handlers[place], request)
	if err != nil {
		return encodeError(err), true
	}
	return response, false
}

// guarded turns a panic into an error.
func guarded(ctx context.Context, handler Handler, request []byte) (response []byte, err error) {
	defer func() {
		if value := recover(); value != nil {
			Log(slog.LevelError, fmt.Sprintf("handler panicked: %v\n%s", value, debug.Stack()))
			response, err = nil, Errorf(Internal, "handler panicked")
		}
	}()
	return handler(ctx, request)
}
