package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// DeliveryHandler takes one update that has come for a subscription. In the end it is the subscription's channel, for
// room in which it waits.
type DeliveryHandler func(ctx context.Context, update proto.Message) error

// SubscriptionInterceptor makes the handler of a subscription's updates, when that is made. The handler calls the next
// one, once, several times, or not at all, and may put another update or context in place of what it got. An update must
// be of the method's type; its Go type does not matter. One that is not passed on is dropped; with an error it is also
// counted, see [SubscriptionStats].
//
// Updates are handled one at a time, on a goroutine of the subscription; those that come meanwhile wait, see
// [WithBufferSize] and [WithOverflow]. Next may be called from any goroutine. ctx is that of the subscription, with the
// update's metadata, see [RequestInfoFromContext]. The subscription's Close waits for the handler, which therefore must not
// call it. A panic ends the subscription with the code internal, and is logged.
type SubscriptionInterceptor func(info RPCInfo, next DeliveryHandler) DeliveryHandler
