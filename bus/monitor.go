package bus

import "fmt"

// Monitored is implemented by every bus that connects to a broker. It gives access to the state of
// the bus.
type Monitored interface {
	Bus
	// Stats returns the current state and counters of the bus. It never blocks.
	Stats() Stats
}

// Stats describes the current state of a bus. All counters start at zero when the bus is created.
type Stats struct {
	// Connected reports whether the broker is reachable, as far as the bus knows.
	Connected bool
	// Disconnects counts how many times the connection to the broker has been lost.
	Disconnects uint64
	// Published counts the frames sent to the broker.
	Published uint64
	// PublishErrors counts the frames that Publish accepted but that the broker refused or may not
	// have received. If such a frame has a [DeliveryReport], the report receives an error.
	PublishErrors uint64
	// Received counts the frames received from the broker.
	Received uint64
	// Dropped counts the frames known to have been lost between the broker and a [Handler].
	Dropped uint64
	// DroppedBy maps each known reason to the number of frames that were dropped for that reason. A
	// reason is a short word, for example the code of the broker's error reply, such as OOM.
	// MISROUTED stands for queue frames that arrived only at processes that do not serve their
	// method. The map is nil if no frame was dropped for a known reason.
	DroppedBy map[string]uint64
}

// EventKind is the kind of an [Event].
type EventKind uint8

const (
	// Disconnected means that the broker has become unreachable. Publish and Subscribe fail
	// immediately until the bus has reconnected. The event is repeated, at most every few seconds,
	// when the bus finds out why it cannot reconnect, for example because the password has changed.
	Disconnected EventKind = iota + 1
	// Reconnected means that the broker is reachable again and that all subscriptions are live.
	// Frames published in the meantime are lost.
	Reconnected
	// Dropped means that frames have been lost, or will be lost because the broker denies access to
	// a channel.
	Dropped
)

// String returns the name of the kind.
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

// Event describes something that an operator should know about, such as a lost connection to the
// broker. A bus passes its events to a handler set by the program, or logs them if there is no
// handler.
type Event struct {
	Kind EventKind
	// Channel is the name of the affected channel or subject, as the broker knows it. It is empty
	// if the event affects the whole bus.
	Channel string
	// Frames is the number of dropped frames. It is zero if the bus does not know the number.
	Frames uint64
	// Err is the cause of the event. It is nil for Reconnected.
	Err error
}
