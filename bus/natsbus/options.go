package natsbus

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// DefaultProbeInterval is the default of [WithProbeInterval].
	DefaultProbeInterval = 2 * time.Second
	// DefaultPendingLimit is the default of [WithPendingLimit], in frames.
	DefaultPendingLimit = 128 << 10
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

// WithPrefix puts prefix in front of every subject, without a separator: "staging." turns
// SRV.Service into staging.SRV.Service. Fleets with different prefixes are isolated from each other
// within one NATS account. All peers of a fleet must use the same prefix. The default is no prefix,
// as in psrpc.
func WithPrefix(prefix string) Option { return func(o *options) { o.prefix = prefix } }

// WithSubjectPerMethod gives every method its own subject instead of one subject for each service.
// The NATS server then knows which process serves which method: frames are never forwarded between
// processes, processes can serve different queued methods of a service, and a call to a method
// without a server fails at once even if other methods of the service are served. Peers without
// this option, which includes all psrpc peers, cannot communicate with peers that use it. The
// default is off.
func WithSubjectPerMethod() Option { return func(o *options) { o.subjectPerMethod = true } }

// WithProbeInterval sets how often the bus sends a PING to the server. If no answer arrives within
// another interval, the bus reconnects, so a dead connection is detected within about two
// intervals. An interval shorter than the time that the connection takes to transmit its outgoing
// data breaks working connections. The minimum is one millisecond, the default
// [DefaultProbeInterval].
func WithProbeInterval(interval time.Duration) Option {
	return func(o *options) { o.probeInterval = interval }
}

// WithPendingLimit sets how many received frames may wait for delivery; frames over the limit are
// dropped and counted. Frames wait only while the process is too busy to run the goroutine that
// delivers them. The minimum is 1, the default [DefaultPendingLimit], which takes one megabyte of
// memory.
func WithPendingLimit(frames int) Option { return func(o *options) { o.pendingLimit = frames } }

// WithLogger sets the logger for warnings, and for events if there is no [WithEventHandler]. The
// default is slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

// WithEventHandler passes the events of the bus to handle, one at a time, instead of logging them.
// handle must not call Close, which waits for handle to return.
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

// check returns an error for every invalid option, joined.
func (o *options) check() error {
	var problems []error
	wrong := func(format string, args ...any) {
		problems = append(problems, errors.NewErrorf(errors.InvalidArgument, format, args...))
	}
	if o.probeInterval < time.Millisecond {
		wrong("nats bus: probe interval is %v, want at least 1ms", o.probeInterval)
	}
	if o.pendingLimit < 1 {
		wrong("nats bus: pending limit is %d frames, want at least 1", o.pendingLimit)
	}
	if o.logger == nil {
		wrong("nats bus: logger is nil")
	}
	return errors.Join(problems...)
}

// log is the default event handler.
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
