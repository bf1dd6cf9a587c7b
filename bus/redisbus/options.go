package redisbus

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Defaults of the options.
const (
	DefaultProbeInterval  = 3 * time.Second
	DefaultConnectTimeout = 5 * time.Second
	DefaultPublishQueue   = 1024
	DefaultMaxFrameSize   = 32 << 20
)

type options struct {
	prefix         string
	probeInterval  time.Duration
	connectTimeout time.Duration
	publishQueue   int
	maxFrameSize   int
	sharded        bool
	logger         *slog.Logger
	onEvent        func(bus.Event)
	ownsClient     bool // close the client with the bus
}

// Option configures [New].
type Option func(*options)

// WithPrefix puts prefix before the name of every channel, so that several fleets share a Redis without meeting
// (its database numbers do not divide pub/sub). All peers must use the same. The default is none, as in psrpc.
func WithPrefix(prefix string) Option { return func(o *options) { o.prefix = prefix } }

// WithProbeInterval sets how fast a dead link is noticed: after half the interval without a frame the bus sends one to
// itself, and within one and a half it gives the link up if none came. It is also the time within which Redis must
// answer a command. The default is [DefaultProbeInterval].
func WithProbeInterval(interval time.Duration) Option {
	return func(o *options) { o.probeInterval = interval }
}

// WithConnectTimeout bounds each attempt to connect, that of [New] included. The default is [DefaultConnectTimeout].
func WithConnectTimeout(timeout time.Duration) Option {
	return func(o *options) { o.connectTimeout = timeout }
}

// WithPublishQueue sets how many frames may wait to be sent before Publish waits for room. The default is
// [DefaultPublishQueue].
func WithPublishQueue(frames int) Option { return func(o *options) { o.publishQueue = frames } }

// WithMaxFrameSize sets the largest frame, in bytes, that Publish takes. The default is [DefaultMaxFrameSize]: Redis
// itself takes more, but its default output buffer limit then cuts every subscriber that the frame is sent to.
func WithMaxFrameSize(bytes int) Option { return func(o *options) { o.maxFrameSize = bytes } }

// WithShardedPubSub uses the sharded pub/sub of Redis 7, SPUBLISH and SSUBSCRIBE: a Cluster then carries each frame on
// one shard instead of all its nodes. Peers that do not use it, psrpc's among them, do not meet those that do. The
// default is off.
func WithShardedPubSub() Option { return func(o *options) { o.sharded = true } }

// WithLogger sets where events are logged that no handler takes. The default is slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

// WithEventHandler makes handle take the bus's events, one at a time, instead of the log. It must not close the bus,
// whose Close waits for it.
func WithEventHandler(handle func(bus.Event)) Option { return func(o *options) { o.onEvent = handle } }

func newOptions(opts []Option) (options, error) {
	o := options{
		probeInterval:  DefaultProbeInterval,
		connectTimeout: DefaultConnectTimeout,
		publishQueue:   DefaultPublishQueue,
		maxFrameSize:   DefaultMaxFrameSize,
		logger:         slog.Default(),
	}
	for _, opt := range opts {
		opt(&o)
	}
	if o.onEvent == nil {
		o.onEvent = o.log
	}
	return o, o.validate()
}

// validate returns all that is wrong.
func (o *options) validate() error {
	var problems []error
	addProblem := func(format string, args ...any) {
		problems = append(problems, errors.NewErrorf(errors.InvalidArgument, format, args...))
	}
	if o.probeInterval < time.Millisecond {
		addProblem("redis bus: probe interval %v is less than a millisecond", o.probeInterval)
	}
	if o.connectTimeout <= 0 {
		addProblem("redis bus: connect timeout %v is not positive", o.connectTimeout)
	}
	if o.publishQueue < 1 {
		addProblem("redis bus: publish queue of %d frames has no room", o.publishQueue)
	}
	if o.maxFrameSize < 1 {
		addProblem("redis bus: maximum frame size %d is not positive", o.maxFrameSize)
	}
	if o.logger == nil {
		addProblem("redis bus: logger is nil")
	}
	return errors.Join(problems...)
}

func (o *options) log(event bus.Event) {
	switch event.Kind {
	case bus.Reconnected:
		o.logger.Info("redis bus reconnected")
	case bus.Disconnected:
		o.logger.Warn("redis bus disconnected", "error", event.Err)
	case bus.Dropped:
		o.logger.Warn("redis bus dropped frames", "channel", event.Channel, "frames", event.Frames, "error", event.Err)
	}
}
