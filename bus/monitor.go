package bus

import "fmt"

// Monitored is implemented by buses that report their state: all those that connect to a broker.
type Monitored interface {
	Bus
	// Stats returns the current counters of the bus. It never blocks.
	Stats() Stats
}

// Stats contains the state of a bus and its counters since it was created.
type Stats struct {
	// Connected reports whether the broker is reachable, as far as the bus knows.
	Connected bool
	// Disconnects counts how often the connection to the broker was lost.
	Disconnects uint64
	// Published counts the frames that were sent to the broker.
	Published uint64
	// PublishErrors counts the frames that Publish accepted but that did not reach the broker, as
	// far as the bus knows. Each of them was reported as lost to its [DeliveryReport].
	PublishErrors uint64
	// Received counts the frames that arrived from the broker.
	Received uint64
	// Dropped counts the frames that are known to be lost between the broker and a [Handler].
	Dropped uint64
}

// EventKind is the kind of an [Event].
type EventKind uint8

const (
	// Disconnected reports that the broker became unreachable. Publish and Subscribe fail at once
	// until the bus has reconnected.
	Disconnected EventKind = iota + 1
	// Reconnected reports that the broker is reachable again and that all subscriptions are live.
	// Frames that were published in between are lost.
	Reconnected
	// Dropped reports that frames were lost on the way to this process, or are about to be.
	Dropped
)

// String returns the kind's name.
func (k EventKind) String() string {
	switch k {
	case Disconnected:
		return "disconnected"
	case Reconnected:
		return "reconnected"
	case Dropped:
		return "dropped"
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// Event reports a change in the state of a bus that concerns an operator. A bus with a broker
// passes its events to a function that the program provides; without one it logs them.
type Event struct {
	Kind EventKind
	// Channel is the broker's name of the channel or subject concerned. It is empty if the event
	// concerns the whole bus.
	Channel string
	// Frames is the number of frames that were dropped, or zero if the bus does not know it.
	Frames uint64
	// Err is the reason. It is nil for Reconnected.
	Err error
}
