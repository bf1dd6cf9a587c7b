package e2e

import (
	"testing"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// Network describes the network on which the suite runs, and what its buses report.
type Network struct {
	// Connect returns a bus that is connected to the network. All buses returned for the same t
	// must be able to exchange frames. The suite calls Connect once for each server and once for
	// each client, and closes every bus that Connect returns. For an in-process network, Connect
	// may return the same bus each time. The suite then closes that bus more than once.
	Connect func(t testing.TB) bus.Bus
	// CountsReceivers says whether the delivery report of a frame contains the number of broadcast
	// subscriptions that received the frame.
	CountsReceivers bool
	// NoticesSilence reports whether a publisher learns that a channel has no subscribers.
	NoticesSilence bool
	// MixesChannels reports whether the frames of one publisher may arrive in a different order if
	// they were published on different channels.
	MixesChannels bool
}

// patience is the timeout for events that must happen. It is far longer than any of them takes in a
// passing test.
const patience = 20 * time.Second
