package natsbus

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus/internal/driver"
)

// logInterval is the minimum time between two events about the same problem.
const logInterval = 10 * time.Second

// These are the keys of bus.Stats.DroppedBy.
const (
	// dropMalformed means that a frame is not an envelope, or that its routing key does not match
	// the private subject on which it arrived.
	dropMalformed = "MALFORMED"
	// dropMisrouted means that a queue frame arrived only at processes that do not serve its
	// routing key, although others may serve it.
	dropMisrouted = "MISROUTED"
	// dropForward means that the server denied a frame that this process forwarded, or that the
	// connection was lost.
	dropForward = "FORWARD"
	// dropSlowConsumer means that too many frames were waiting for delivery.
	dropSlowConsumer = "SLOW_CONSUMER"
)

// telemetry reports the state of the bus to the program through counters, events and warnings. All
// parts of the bus share it. All methods are safe for concurrent use.
type telemetry struct {
	driver.Counters

	events driver.Events
	logger *slog.Logger
}

// drop counts a frame that arrived on subject and is dropped because of err. It also emits an
// event, unless it has emitted one for the same reason within logInterval.
func (t *telemetry) drop(reason, subject string, err error) {
	if frames := t.Drops.Add(reason, 1, logInterval); frames > 0 {
		t.events.Dropped(subject, frames, err)
	}
}
