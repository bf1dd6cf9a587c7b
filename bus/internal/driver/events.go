package driver

import (
	"fmt"
	"log/slog"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// Events passes the events of a bus to its event handler, one at a time and in order. The methods
// that add an event never block: if too many events wait for a slow handler, further ones are
// dropped. All methods are safe for concurrent use. Use [NewEvents] to create Events.
type Events struct {
	queue lifecycle.EventQueue[bus.Event]
	// renewals contains the functions that Reconnected calls.
	renewals *fanout.Renewals
}

// NewEvents returns an empty queue of events.
func NewEvents() Events {
	return Events{queue: lifecycle.NewEventQueue[bus.Event](), renewals: &fanout.Renewals{}}
}

// Run calls handle for each event. It returns when done is closed and all events have been handled.
func (e Events) Run(done <-chan struct{}, handle func(bus.Event)) { e.queue.Run(done, handle) }

// Disconnected adds an event that says why the broker is unreachable.
func (e Events) Disconnected(reason error) {
	e.queue.Put(bus.Event{Kind: bus.Disconnected, Err: reason})
}

// Reconnected adds an event that says that the broker is reachable again. It then calls all
// functions that were passed to NotifyRenewed, even if the connection of their subscription was not
// lost. It must be called when the subscriptions of the lost connection are live again.
func (e Events) Reconnected() {
	e.queue.Put(bus.Event{Kind: bus.Reconnected})
	e.renewals.Run()
}

// NotifyRenewed makes Reconnected call handler, which must not block, until IgnoreRenewed is called
// or the subscriber is closed; see [fanout.RenewalNotifier].
func (e Events) NotifyRenewed(subscriber *fanout.Subscriber, handler func()) {
	e.renewals.Set(subscriber, handler)
}

// IgnoreRenewed undoes NotifyRenewed.
func (e Events) IgnoreRenewed(subscriber *fanout.Subscriber) { e.renewals.Remove(subscriber) }

// Dropped adds an event that says that frames of channel have been lost, or will be lost. frames is
// their number, or zero if the bus does not know it. channel is empty if all channels are affected.
func (e Events) Dropped(channel string, frames uint64, cause error) {
	e.queue.Put(bus.Event{Kind: bus.Dropped, Channel: channel, Frames: frames, Err: cause})
}

// loggedChannel is the format of a channel in a log line. It limits the length, because peers
// choose the names of channels.
const loggedChannel = "%.200s"

// LogEvents returns an event handler that logs events to logger. Each line begins with name, the
// name of the bus. channelKey is the key of the attribute that contains the channel.
func LogEvents(logger *slog.Logger, name, channelKey string) func(bus.Event) {
	return func(event bus.Event) {
		switch event.Kind {
		case bus.Reconnected:
			logger.Info(name + " reconnected")
		case bus.Disconnected:
			logger.Warn(name+" disconnected", "error", event.Err)
		case bus.Dropped:
			logger.Warn(name+" dropped frames", channelKey, fmt.Sprintf(loggedChannel, event.Channel),
				"frames", event.Frames, "error", event.Err)
		}
	}
}
