package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// DeliveryHandler handles one received update of a subscription. The innermost handler puts it into
// the subscription's channel, and waits while the channel is full.
type DeliveryHandler func(ctx context.Context, update proto.Message) error

// SubscriptionInterceptor wraps the handler of a subscription's updates. It is called once, when
// the subscription is made. The handler that it returns calls next once, several times, or not at
// all, and may replace the update or context. An update must be of the method's type; its Go type
// does not matter. An update that is not passed on is dropped; if the handler returns an error, the
// update is also counted in Refused of [SubscriptionStats].
//
// Updates are handled one at a time, on a goroutine of the subscription; further updates wait, see
// [WithBufferSize] and [WithOverflow]. next may be called from any goroutine. ctx is the context of
// the subscription with the update's metadata, see [RequestInfoFromContext]. The handler must not
// call the subscription's Close, which waits for the handler. A panic is logged and ends the
// subscription with the code internal.
type SubscriptionInterceptor func(info RPCInfo, next DeliveryHandler) DeliveryHandler
