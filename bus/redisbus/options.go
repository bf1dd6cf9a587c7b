package redisbus

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/internal/driver"
)

// These are the default values of the options.
const (
	// DefaultProbeInterval is the default for [WithProbeInterval].
	DefaultProbeInterval = 3 * time.Second
	// DefaultConnectTimeout is the default for [WithConnectTimeout].
	DefaultConnectTimeout = 5 * time.Second
	// DefaultPublishQueue is the default for [WithPublishQueue], in frames.
	DefaultPublishQueue = 1024
	// DefaultMaxFrameSize is the default for [WithMaxFrameSize], in bytes.
	DefaultMaxFrameSize = 32 << 20
)

// lockRetryTimeout limits how long the bus tries to take a lock on another server, counted from the
// arrival of the frame. It must be shorter than an automatic failover. A lock that another process
// took just before a master failed may be missing on the new master. If the bus still retried after
// the failover, the frame could be delivered twice.
const lockRetryTimeout = 2 * time.Second

type options struct {
	driver.Options

	connectTimeout time.Duration
	publishQueue   int // in frames
	maxFrameSize   int // in bytes
	sharded        bool
	// lockRetryTimeout is the constant of the same name, except in tests.
	lockRetryTimeout time.Duration
	// ownsClient reports whether Bus.Close must close the client.
	ownsClient bool
}

// Option configures [New].
type Option func(*options)

// WithPrefix adds prefix to the name of every channel. Use it to isolate deployments that share a
// Redis server. Using different database numbers is not enough, because pub/sub channels are not
// separated by database. All processes that communicate with each other must use the same prefix.
// By default there is no prefix, as in psrpc.
func WithPrefix(prefix string) Option { return func(o *options) { o.Prefix = prefix } }

// WithProbeInterval sets the interval that determines how quickly a dead connection is detected.
// The bus sends a PING twice in an interval. It reconnects after at most one and a half intervals
// in which nothing arrives. If frames arrive but no reply to a PING, Redis probably does not
// receive the PING. In this case, the bus reconnects after four to five intervals.
//
// The interval is also the minimum time that Redis is given to reply to a command before the bus
// reconnects. It must be at least one millisecond. The default is [DefaultProbeInterval].
func WithProbeInterval(interval time.Duration) Option {
	return func(o *options) { o.ProbeInterval = interval }
}

// WithConnectTimeout sets the timeout for each attempt to connect, including the first one in
// [New]. It limits dialing. While the bus then subscribes to its channels, the timeout starts again
// each time Redis confirms a channel. The number of channels therefore does not matter. The timeout
// must be positive. The default is [DefaultConnectTimeout].
func WithConnectTimeout(timeout time.Duration) Option {
	return func(o *options) { o.connectTimeout = timeout }
}

// WithPublishQueue sets how many frames may be waiting to be sent before Publish blocks. It must be
// positive. The default is [DefaultPublishQueue].
func WithPublishQueue(frames int) Option { return func(o *options) { o.publishQueue = frames } }

// WithMaxFrameSize sets the maximum size of a frame, in bytes. Publish returns bus.ErrFrameTooLarge
// for larger frames. The size must be positive. The default is [DefaultMaxFrameSize]. Redis itself
// accepts larger frames. However, with its default output buffer limit, it disconnects all
// subscribers of a channel on which a larger frame is published.
func WithMaxFrameSize(bytes int) Option { return func(o *options) { o.maxFrameSize = bytes } }

// WithShardedPubSub enables the sharded pub/sub of Redis 7 (SPUBLISH and SSUBSCRIBE). A Cluster
// then sends each frame to only one shard instead of forwarding it to all nodes. Processes that use
// this option cannot communicate with processes that do not, such as psrpc processes. By default,
// sharded pub/sub is not used.
func WithShardedPubSub() Option { return func(o *options) { o.sharded = true } }

// WithLogger sets the logger for the events of the bus and for its warnings. With
// [WithEventHandler], events are not logged. Servers and conns that use the bus log to the same
// logger, unless they have a logger of their own; see [bus.LoggerOf]. The default is
// slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.Logger = logger } }

// WithEventHandler registers handler to be called for each event of the bus. Events are then no
// longer logged. Calls are never concurrent. handler must not close the bus, because Close waits
// for handler to return.
func WithEventHandler(handler func(bus.Event)) Option {
	return func(o *options) { o.OnEvent = handler }
}

// newOptions returns the options that opts set, and the default values of all others. The error
// joins one error for each invalid option.
func newOptions(opts []Option) (options, error) {
	o := options{
		Options:        driver.Options{ProbeInterval: DefaultProbeInterval, Logger: slog.Default()},
		connectTimeout: DefaultConnectTimeout,
		publishQueue:   DefaultPublishQueue,
		maxFrameSize:   DefaultMaxFrameSize,

		lockRetryTimeout: lockRetryTimeout,
	}
	driver.Apply(&o, opts)
	problems := driver.NewProblems("redis bus: ")
	problems.AddIf(o.ProbeInterval < time.Millisecond, "probe interval %v is less than 1ms", o.ProbeInterval)
	problems.AddIf(o.connectTimeout <= 0, "connect timeout %v is not positive", o.connectTimeout)
	problems.AddIf(o.publishQueue < 1, "publish queue size %d is not positive", o.publishQueue)
	problems.AddIf(o.maxFrameSize < 1, "maximum frame size %d is not positive", o.maxFrameSize)
	o.Complete(problems, "redis bus", "channel")
	return o, problems.Err()
}
