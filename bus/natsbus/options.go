package natsbus

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Defaults of the options.
const (
	DefaultProbeInterval = 2 * time.Second
	DefaultPendingLimit  = 128 << 10
)

type options struct {
	prefix           string
	subjectPerMethod bool
	probeInterval    time.Duration
	pendingLimit     int // frames
	logger           *slog.Logger
	onEvent          func(bus.Event)
}

// Option configures [New].
type Option func(*options)

// WithPrefix puts prefix before every subject, as it is: "staging." makes SRV.Service staging.SRV.Service. So several
// fleets can share an account without meeting. All peers must use the same. The default is none, as in psrpc.
func WithPrefix(prefix string) Option { return func(o *options) { o.prefix = prefix } }

// WithSubjectPerMethod gives every method of a service a subject of its own, instead of one for all. The server then
// knows which process serves which method: none gets frames that it has no use for, processes may serve different
// methods of a service as a queue, and a call is told at once that nobody serves its method even if others of the
// service are served. Peers that do not use it, psrpc's among them, do not meet those that do. The default is off.
func WithSubjectPerMethod() Option { return func(o *options) { o.subjectPerMethod = true } }

// WithProbeInterval sets how fast a dead link is noticed: after each interval the bus asks the server for a sign of
// life, and gives the link up if none comes within another. An interval that is shorter than the time in which the
// link carries what waits to be sent breaks links that work. The default is [DefaultProbeInterval].
func WithProbeInterval(interval time.Duration) Option {
	return func(o *options) { o.probeInterval = interval }
}

// WithPendingLimit sets how many frames that have come may wait to be delivered; what comes above that is dropped. They
// wait only while this process is too busy to run the goroutine that delivers them. The default is
// [DefaultPendingLimit], for which the bus needs a megabyte.
func WithPendingLimit(frames int) Option { return func(o *options) { o.pendingLimit = frames } }

// WithLogger sets where events are logged that no handler takes. The default is slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

// WithEventHandler makes handle take the bus's events, one at a time, instead of the log. It must not close the bus,
// whose Close waits for it.
func WithEventHandler(handle func(bus.Event)) Option { return func(o *options) { o.onEvent = handle } }

func newOptions(opts []Option) (options, error) {
	o := options{
		probeInterval: DefaultProbeInterval,
		pendingLimit:  DefaultPendingLimit,
		logger:        slog.Default(),
	}
	for _, opt := range opts {
		opt(&o)
	}
	if o.onEvent == nil {
		o.onEvent = o.log
	}
	return o, o.check()
}

// check returns all that is wrong.
func (o *options) check() error {
	var problems []error
	wrong := func(format string, args ...any) {
		problems = append(problems, errors.NewErrorf(errors.InvalidArgument, format, args...))
	}
	if o.probeInterval < time.Millisecond {
		wrong("nats bus: probe interval %v is less than a millisecond", o.probeInterval)
	}
	if o.pendingLimit < 1 {
		wrong("nats bus: pending limit of %d frames has no room", o.pendingLimit)
	}
	if o.logger == nil {
		wrong("nats bus: logger is nil")
	}
	return errors.Join(problems...)
}

func (o *options) log(event bus.Event) {
	switch event.Kind {
	case bus.Reconnected:
		o.logger.Info("nats bus reconnected")
	case bus.Disconnected:
		o.logger.Warn("nats bus disconnected", "error", event.Err)
	case bus.Dropped:
		o.logger.Warn("nats bus dropped frames", "subject", event.Channel, "frames", event.Frames, "error", event.Err)
	}
}
