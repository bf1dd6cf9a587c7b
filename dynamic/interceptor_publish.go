package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// PublishHandler sends one update to the subscribers of a method. The innermost handler is the
// engine.
type PublishHandler func(ctx context.Context, update proto.Message) error

// PublishInterceptor wraps the handler of one update. The handler that it returns calls next once,
// several times, or not at all, and may replace the update, context or error. An update must be of
// the method's type; its Go type does not matter. The handler runs on the publisher's goroutine;
// the engine does not recover its panics. The interceptor itself is called for each update. State
// that updates share therefore belongs outside of the interceptor.
type PublishInterceptor func(info RPCInfo, next PublishHandler) PublishHandler
