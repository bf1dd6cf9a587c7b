package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// PublishHandler sends one update to the subscribers of a method. In the end it is the engine.
type PublishHandler func(ctx context.Context, update proto.Message) error

// PublishInterceptor makes the handler of one update. That calls the next handler, once, several times, or not at all,
// and may put another update, context or error in place of what it got. An update must be of the method's type; its Go
// type does not matter. It runs on the publisher's goroutine, to which it may panic. The interceptor itself is called with
// each update; so what updates share belongs outside of it.
type PublishInterceptor func(info RPCInfo, next PublishHandler) PublishHandler
