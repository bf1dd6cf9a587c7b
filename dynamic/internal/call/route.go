package call

import (
	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
)

// Route holds the channels on which the client and the servers of one method and topic communicate.
// A Route is immutable.
type Route struct {
	// The fields that every call uses come first, so that they share a cache line; see
	// [message.Type].

	// membership records which servers answer calls on the route. It is nil for queue methods,
	// because only one server answers each of their requests, and for subscriptions, which have no
	// requests.
	membership *selection.Membership
	// unicast chooses the servers to which a request is sent on their own channels instead of the
	// request channel. It is nil for methods whose requests are never sent in this way.
	unicast *unicastRoute
	// Requests is the channel for the requests of single and multi calls. For a subscription
	// method, it is the channel of the updates.
	Requests bus.Channel

	// Topic holds the parts of the topic. It is empty if the method has no topics.
	Topic []string
	// grants is the channel on which the client announces which server it has selected.
	grants bus.Channel
	// streams is the channel on which servers receive the frames of streams.
	streams bus.Channel
}
