package redisbus

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Default values of the options.
const (
	// DefaultProbeInterval is the default of [WithProbeInterval].
	DefaultProbeInterval = 3 * time.Second
	// DefaultConnectTimeout is the default of [WithConnectTimeout].
	DefaultConnectTimeout = 5 * time.Second
	// DefaultPublishQueue is the default of [WithPublishQueue], in frames.
	DefaultPublishQueue = 1024
	// DefaultMaxFrameSize is the default of [WithMaxFrameSize], in bytes.
	DefaultMaxFrameSize = 32 << 20
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
	// ownsClient is set if Bus.Close must close the client.
	ownsClient bool
}

// Option configures [New].
type Option func(*options)

// WithPrefix adds prefix to the name of every channel, so that several fleets share a Redis server
// and stay isolated (database numbers do not separate pub/sub channels). All peers must use the
// same prefix. The default is no prefix, as in psrpc.
func WithPrefix(prefix string) Option { return func(o *options) { o.prefix = prefix } }

// WithProbeInterval sets how fast a dead connection is detected. After half an interval without a
// frame, the bus publishes a probe to itself; it reconnects after at most one and a half intervals
// without a frame. The interval is also the minimum time that Redis has to reply to a command
// before the bus reconnects. The default is [DefaultProbeInterval].
func WithProbeInterval(interval time.Duration) Option {
	return func(o *options) { o.probeInterval = interval }
}

// WithConnectTimeout bounds each attempt to connect, including the first one in [New]. The default
// is [DefaultConnectTimeout].
func WithConnectTimeout(timeout time.Duration) Option {
	return func(o *options) { o.connectTimeout = timeout }
}

// WithPublishQueue sets how many frames may wait to be sent before Publish blocks. The default is
// [DefaultPublishQueue].
func WithPublishQueue(frames int) Option { return func(o *options) { o.publishQueue = frames } }

// WithMaxFrameSize sets the maximum size of a frame, in bytes; Publish returns bus.ErrFrameTooLarge
// for larger ones. The default is [DefaultMaxFrameSize]. Redis accepts larger frames, but with its
// default output buffer limit it then disconnects every subscriber of the channel.
func WithMaxFrameSize(bytes int) Option { return func(o *options) { o.maxFrameSize = bytes } }

// WithShardedPubSub makes the bus use the sharded pub/sub of Redis 7 (SPUBLISH and SSUBSCRIBE): a
// Cluster then carries each frame on one shard instead of forwarding it to all nodes. Peers that
// use it cannot communicate with peers that do not, such as psrpc peers. The default is off.
func WithShardedPubSub() Option { return func(o *options) { o.sharded = true } }

// WithLogger sets the logger for events. It is not used with [WithEventHandler]. The default is
// slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

// WithEventHandler makes the bus call handle for its events instead of logging them, one call at a
// time. handle must not close the bus: Close waits for handle to return.
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

// validate returns an error that joins all problems of the options, or nil.
func (o *options) validate() error {
	var problems []error
	addProblem := func(format string, args ...any) {
		problems = append(problems, errors.NewErrorf(errors.InvalidArgument, format, args...))
	}
	if o.probeInterval < time.Millisecond {
		addProblem("redis bus: probe interval %v is less than 1ms", o.probeInterval)
	}
	if o.connectTimeout <= 0 {
		addProblem("redis bus: connect timeout %v is not positive", o.connectTimeout)
	}
	if o.publishQueue < 1 {
		addProblem("redis bus: publish queue size %d is not positive", o.publishQueue)
	}
	if o.maxFrameSize < 1 {
		addProblem("redis bus: maximum frame size %d is not positive", o.maxFrameSize)
	}
	if o.logger == nil {
		addProblem("redis bus: logger is nil")
	}
	return errors.Join(problems...)
}

// log logs an event. It is the event handler if [WithEventHandler] is not used.
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
