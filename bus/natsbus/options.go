package natsbus

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/internal/driver"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus/internal/trial"
)

const (
	// DefaultProbeInterval is the default for [WithProbeInterval].
	DefaultProbeInterval = 2 * time.Second
	// DefaultMaxControlLine is the default for [WithMaxControlLine], in bytes. It is also the
	// server's default for max_control_line.
	DefaultMaxControlLine = 4096
	// DefaultPendingLimit is the default for [WithPendingLimit], in frames.
	DefaultPendingLimit = 128 << 10
)

// confirmInterval is the minimum time between two calls to reports.Pending.Rotate. It must be much
// longer than the time between adding a report and sending its frame. It must also be longer than
// the time for which another process keeps a misrouted frame. The longest such time is the timeout
// of a trial, after which the frame is forwarded again. Otherwise, the bus could drop a report
// before a no-responders status arrives.
const confirmInterval = 2 * trial.Timeout

// sampleTimeout is the time after which a sample (see direct.go) counts as not acknowledged.
const sampleTimeout = 500 * time.Millisecond

type options struct {
	driver.Options

	subjectPerMethod bool
	pendingLimit     int // in frames
	maxControlLine   int // in bytes
	monitorURL       string
	// confirmInterval, trialTimeout and sampleTimeout determine how long the bus waits for the
	// outcome of a frame that other processes forward. Only tests change them.
	confirmInterval, trialTimeout, sampleTimeout time.Duration
}

// Option configures a bus created by [New].
type Option func(*options)

// WithPrefix adds prefix to the beginning of every subject, without a separator. For example,
// "staging." turns SRV.Service into staging.SRV.Service. Peers with different prefixes are isolated
// from each other, even within one NATS account, so all peers that communicate must use the same
// prefix. By default, there is no prefix, as in psrpc.
func WithPrefix(prefix string) Option { return func(o *options) { o.Prefix = prefix } }

// WithSubjectPerMethod gives every method its own subject instead of using one subject per service.
// The NATS server then knows which process serves which method. Frames are never forwarded between
// processes, and the bus needs no private subjects. This is faster if processes serve different
// queued methods of a service, and needs half as many NATS subscriptions if there are many topics.
// Use it if there are no psrpc peers. Peers that use this option cannot communicate with peers that
// do not, such as psrpc peers. The option is off by default.
func WithSubjectPerMethod() Option { return func(o *options) { o.subjectPerMethod = true } }

// WithProbeInterval sets how often the bus sends a PING to the server. If the server does not
// answer within another interval, the bus reconnects, so a dead connection is detected within about
// two intervals. The interval must be longer than the time needed to transmit the data that is
// waiting to be sent. Otherwise, the bus breaks working connections. The minimum is one
// millisecond. The default is [DefaultProbeInterval].
func WithProbeInterval(interval time.Duration) Option {
	return func(o *options) { o.ProbeInterval = interval }
}

// WithPendingLimit sets the maximum number of received frames that may wait for delivery. Frames
// over the limit are dropped and counted. Frames wait only while the process is too busy to run the
// goroutine that delivers them. The minimum is 1. The default is [DefaultPendingLimit], for which
// the bus allocates one megabyte of memory.
func WithPendingLimit(frames int) Option { return func(o *options) { o.pendingLimit = frames } }

// WithMaxControlLine sets the maximum length of a line of the NATS protocol, in bytes. It must not
// be greater than max_control_line in the configuration of the servers, because a server closes a
// connection that sends a longer line. Clients cannot query the setting. Publish and Subscribe
// return an error with code invalid_argument for subjects that do not fit. The maximum length of a
// subject is about 150 bytes less than that of the line. Topics, service names, the prefix and
// client IDs are parts of subjects. [New] returns an error if a line would have no room for a
// subject. The default is [DefaultMaxControlLine].
func WithMaxControlLine(bytes int) Option { return func(o *options) { o.maxControlLine = bytes } }

// WithMonitor lets the methods of [bus.Inspector] and [bus.Informed] ask the NATS servers for their
// connections and subscriptions. The bus asks only when one of these methods is called. There are
// two kinds of URL:
//   - The URL of a server's monitoring port, such as http://127.0.0.1:8222. If there are several
//     servers, their URLs are separated by commas, because each server knows only its own clients.
//   - The URL of a user of the system account, such as nats://user:password@127.0.0.1:4222 or
//     nats://127.0.0.1:4222?creds=system.creds. All servers of the cluster are then asked. The
//     parameters are those of [bus.Open].
//
// By default, the bus knows only whether a subject has subscribers.
func WithMonitor(url string) Option { return func(o *options) { o.monitorURL = url } }

// WithLogger sets the logger for warnings, and for events if [WithEventHandler] is not used.
// Servers and conns that use the bus log to it, too, unless they have a logger of their own; see
// [bus.LoggerOf]. The default is slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.Logger = logger } }

// WithEventHandler registers handler to be called for each event of the bus, instead of logging the
// event. Calls are never concurrent. handler must not call Close, because Close waits for handler
// to return.
func WithEventHandler(handler func(bus.Event)) Option {
	return func(o *options) { o.OnEvent = handler }
}

// newOptions returns the options that opts set, and the default values of all others. The error
// joins one error for each invalid option.
func newOptions(opts []Option) (options, error) {
	o := options{
		Options:        driver.Options{ProbeInterval: DefaultProbeInterval, Logger: slog.Default()},
		pendingLimit:   DefaultPendingLimit,
		maxControlLine: DefaultMaxControlLine,

		confirmInterval: confirmInterval, trialTimeout: trial.Timeout, sampleTimeout: sampleTimeout,
	}
	driver.Apply(&o, opts)
	problems := driver.NewProblems("nats bus: ")
	problems.AddIf(o.ProbeInterval < time.Millisecond, "probe interval is %v, want at least 1ms", o.ProbeInterval)
	problems.AddIf(o.pendingLimit < 1, "pending limit is %d frames, want at least 1", o.pendingLimit)
	problems.AddIf(o.maxControlLine < 1, "maximum control line is %d bytes, want at least 1", o.maxControlLine)
	o.Complete(problems, "nats bus", "subject")
	return o, problems.Err()
}
