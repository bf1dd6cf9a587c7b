package bus

import "fmt"

// Monitored is a Bus that tells how it is doing. Those that speak to a broker do.
type Monitored interface {
	Bus
	// Stats returns the bus's counters at this moment. It never blocks.
	Stats() Stats
}

// Stats are the state of a bus and what it counted since it was made.
type Stats struct {
	// Connected says that the broker is within reach, as far as the bus knows.
	Connected bool
	// Disconnects is how often the broker went out of reach.
	Disconnects uint64
	// Published is the number of frames that were handed to the broker.
	Published uint64
	// PublishErrors is the number of frames that Publish accepted but that never reached the broker, as far as the bus
	// knows. Each of them was reported as lost to its Report.
	PublishErrors uint64
	// Received is the number of frames that came from the broker.
	Received uint64
	// Dropped is the number of frames known to have been lost between the broker and a Deliver function.
	Dropped uint64
}

// EventKind says what an [Event] is about.
type EventKind uint8

const (
	// Disconnected says that the broker is out of reach, and why. Until it is back, Publish and Subscribe fail at once.
	Disconnected EventKind = iota + 1
	// Reconnected says that the broker is back and that all subscriptions are live again. Frames that were published
	// in between are lost.
	Reconnected
	// Dropped says that frames were lost on the way to this process, or that the bus sees a loss coming.
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

// Event is something that happened to a bus and that an operator wants to know. A bus that speaks to a broker hands its
// events to a function that the program gives it; without one it logs them.
type Event struct {
	Kind EventKind
	// Channel is where it happened: a channel or subject as the broker knows it, empty if it concerns the whole bus.
	Channel string
	// Frames is how many frames were dropped, 0 if the bus cannot tell.
	Frames uint64
	// Err is the reason, nil for Reconnected.
	Err error
}
