package driver

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// Options contains the options that the buses of all brokers have.
type Options struct {
	// Prefix is the beginning of all names of channels or subjects. It may be empty.
	Prefix string
	// ProbeInterval determines how often the bus checks its connection to the broker.
	ProbeInterval time.Duration
	// Logger is the logger for warnings of the bus, and for its events if OnEvent is not set.
	Logger *slog.Logger
	// OnEvent is called for each event of the bus.
	OnEvent func(bus.Event)
}

// Complete adds a problem if there is no logger. If there is no event handler, it sets the one that
// [LogEvents] returns for name and channelKey.
func (o *Options) Complete(problems *Problems, name, channelKey string) {
	problems.AddIf(o.Logger == nil, "logger is nil")
	if o.OnEvent == nil {
		o.OnEvent = LogEvents(o.Logger, name, channelKey)
	}
}

// Apply applies opts to options, in order. Options that are nil are ignored.
func Apply[T any, O ~func(*T)](options *T, opts []O) {
	for _, opt := range opts {
		if opt != nil {
			opt(options)
		}
	}
}
