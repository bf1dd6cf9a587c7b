package dynamic

import (
	"cmp"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func newSharedOptions(b bus.Bus) sharedOptions {
	return sharedOptions{
		logger: bus.LoggerOf(b), decompressed: decompressionOptions{maxMemory: DefaultDecompressionMemory},
	}
}

// setID sets the ID to a generated one if the user has set none.
func (o *sharedOptions) setID(prefix string) {
	if o.id == "" {
		o.id, o.idErr = o.newID.ownID(prefix)
	}
}

// decompression returns the limits for compressed frames.
func (o *sharedOptions) decompression() transport.Limits {
	return transport.Limits{MaxSize: o.maxFrameSize, MaxRatio: o.decompressed.maxRatio}
}

// check returns an error that joins one error for each invalid option, or nil if all are valid.
// owner is "server" or "client".
func (o *sharedOptions) check(owner string) error {
	problems := []error{o.idErr}
	if !utf8.ValidString(o.id) {
		problems = append(problems, errors.NewErrorf(errors.InvalidArgument, "%s id %q is not valid UTF-8", owner, o.id))
	}
	if !o.compression.Valid() {
		problems = append(problems, errors.NewErrorf(errors.InvalidArgument,
			"WithCompression: there is no level %d, want one of package compress/gzip, such as gzip.BestSpeed",
			o.compression.Level))
	}
	return errors.Join(problems...)
}

// sharedOption is an Option that changes only sharedOptions. name is the name of the function that
// returns the option.
type sharedOption struct {
	name  string
	apply func(o *sharedOptions)
}

func (s sharedOption) applyServer(o *serverOptions) { s.apply(&o.sharedOptions) }
func (s sharedOption) applyConn(o *connOptions)     { s.apply(&o.sharedOptions) }

func (s sharedOption) applyRegister(o *registerOptions) {
	o.err = errors.Join(o.err, errors.NewErrorf(errors.InvalidArgument,
		"%s configures servers and conns, not a single service: pass it to NewServer", s.name))
}

// WithMaxFrameSize limits the size of frames in bytes, in addition to the limit of the bus. Sending
// a larger frame fails with code resource_exhausted. A larger frame that is received is dropped and
// counted as a bad frame. If a frame is compressed, the limit also applies to the size before
// compression. By default, or if bytes is zero or negative, only the limit of the bus applies
// to frames, and the decompressed size is limited to [DefaultMaxDecompressedSize].
func WithMaxFrameSize(bytes int) Option {
	return sharedOption{"WithMaxFrameSize", func(o *sharedOptions) { o.maxFrameSize = max(bytes, 0) }}
}

const (
	// DefaultMaxDecompressedSize is the maximum size of a decompressed frame in bytes if
	// [WithMaxFrameSize] is not used.
	DefaultMaxDecompressedSize = transport.DefaultMaxDecompressedSize
	// DefaultMaxCompressionRatio is the default of [WithMaxCompressionRatio].
	DefaultMaxCompressionRatio = transport.DefaultMaxRatio
	// DefaultDecompressionMemory is the default of [WithDecompressionMemory] in bytes.
	DefaultDecompressionMemory = 256 << 20
	// DefaultCompressionThreshold is the default of [WithCompressionThreshold] in bytes. psrpc has
	// the same default.
	DefaultCompressionThreshold = transport.DefaultCompressionThreshold
)

// WithMaxCompressionRatio limits the ratio of the decompressed size of a received frame to its
// compressed size. The limit does not apply to frames that are at most 2 MiB large after
// decompression. Frames with a higher ratio are dropped and counted as bad frames. By
// default, or if ratio is zero or negative, the limit is [DefaultMaxCompressionRatio].
func WithMaxCompressionRatio(ratio int) Option {
	return sharedOption{"WithMaxCompressionRatio", func(o *sharedOptions) { o.decompressed.maxRatio = max(ratio, 0) }}
}

// WithDecompressionMemory limits the total size in bytes of the decompressed frames that a server
// or conn keeps in memory. A server keeps requests while they wait for the client to select a
// server and while they are being handled. Servers and conns keep stream messages until they are
// read.
//
// When the limit is reached, a server refuses further compressed requests and counts them in the
// field Refused of [ServerStats]. It does not claim a refused request. If a refused request
// requires no claim, the server answers it with code resource_exhausted. For queue methods, only
// requests from psrpc clients require a claim. Servers and conns drop further compressed stream
// messages and count them as overflowed.
//
// By default, or if bytes is zero or negative, the limit is [DefaultDecompressionMemory].
func WithDecompressionMemory(bytes int) Option {
	if bytes <= 0 {
		bytes = DefaultDecompressionMemory
	}
	return sharedOption{"WithDecompressionMemory", func(o *sharedOptions) { o.decompressed.maxMemory = bytes }}
}

// WithCompression makes a server or conn compress large messages with gzip: requests, responses,
// stream messages and updates. The level is one of those in package compress/gzip, such as
// gzip.BestSpeed or gzip.DefaultCompression. The default is gzip.NoCompression, with which nothing
// is compressed. If the level is invalid, [NewConn] and [Server.Register] return an error.
//
// Use the option only if all peers can decompress messages. psrpc v0.7.6 and later can. Older
// versions of psrpc drop compressed messages silently. Peers need no option, because every dynpsrpc
// server and conn decompresses what it receives, within limits (see [WithMaxFrameSize] and
// [WithMaxCompressionRatio]).
//
// A message is sent uncompressed if it is smaller than the threshold (see
// [WithCompressionThreshold]) or if compression does not make it smaller. It is also sent
// uncompressed if receivers with default limits would reject the compressed message; see
// [DefaultMaxDecompressedSize] and [DefaultMaxCompressionRatio]. The limit of the bus applies to
// the size after compression, and the limit of WithMaxFrameSize to the size before compression.
func WithCompression(level int) Option {
	return sharedOption{"WithCompression", func(o *sharedOptions) { o.compression.Level = level }}
}

// WithCompressionThreshold sets the minimum size in bytes of the messages that are compressed. The
// size is that of the message on the bus, with IDs and metadata. The option has no effect without
// [WithCompression]. By default, or if bytes is zero or negative, the threshold is
// [DefaultCompressionThreshold].
func WithCompressionThreshold(bytes int) Option {
	return sharedOption{"WithCompressionThreshold", func(o *sharedOptions) { o.compression.Threshold = bytes }}
}

// AllowEmptyTopicParts lets a server register, and a conn use, topics with empty parts, which psrpc
// peers may use. By default, such topics are refused with code invalid_argument, because an empty
// part is usually a variable that has no value. Even with this option, empty parts may stand only
// directly before the last part, as in ["", "n"], or all parts must be empty. The reason is that
// psrpc omits empty parts from NATS subjects. A topic such as ["n", ""] would therefore have the
// same subject as ["", "n"].
func AllowEmptyTopicParts() Option {
	return sharedOption{"AllowEmptyTopicParts", func(o *sharedOptions) { o.allowEmptyParts = true }}
}

// WithLogger sets the logger of a server or conn. For example, a server logs panics in handlers and
// frames that it could not send. A conn logs panics in interceptors that run on goroutines of the
// conn. By default, a server or conn uses the logger of its bus; see [bus.LoggerOf]. If logger is
// nil, slog.Default() is used.
func WithLogger(logger *slog.Logger) Option {
	if logger == nil {
		logger = slog.Default()
	}
	return sharedOption{"WithLogger", func(o *sharedOptions) { o.logger = logger }}
}

// WithIDGenerator sets the function that creates IDs: the ID of a server or conn, and the IDs of
// the requests and streams of a conn. By default, or if generate is nil, [NewID] creates them.
// [WithServerID] and [WithClientID] take precedence.
//
// If the ID of a server or conn is invalid, [Server.Register] or [NewConn] returns an error. If the
// ID of a request or stream is invalid, a random ID is used, and the conn logs an error, at most
// once a second. If an ID is not unique, calls may receive the responses of other calls.
func WithIDGenerator(generate IDGenerator) Option {
	return sharedOption{"WithIDGenerator", func(o *sharedOptions) { o.newID = generate }}
}

// WithKeepalive sets the keepalive interval of streams. A side that has not sent a frame for one
// interval sends a ping. A side that has not received a frame for three intervals closes the stream
// with [ErrKeepaliveTimeout]. If the two sides have different intervals, the shorter one is used.
// If interval is zero, [DefaultKeepalive] is used. The shortest interval is [MinimumKeepalive]. A
// negative interval disables keepalives.
//
// Streams with psrpc peers have no keepalives, because psrpc does not support them. Streams with
// MULTI routing have none either, because the other side consists of several servers.
func WithKeepalive(interval time.Duration) Option {
	return sharedOption{"WithKeepalive", func(o *sharedOptions) { o.keepalive = interval }}
}

// StreamSetting configures either side of a stream. Pass it to [Client.OpenStream] on a client or
// to [Stream] on a server. If it is passed to [NewConn], [NewServer] or [Server.Register], it is
// the default for all streams of the conn, server or service.
type StreamSetting interface {
	Option
	RequestOption
	HandlerOption
}

func (s streamSetting) applyRequest(o *requestOptions) { s.apply(&o.bufferSize, &o.window) }

func (s streamSetting) applyConn(o *connOptions) { o.streamDefaults = append(o.streamDefaults, s) }

func (s streamSetting) applyServer(o *serverOptions) {
	s.apply(&o.streamDefaults.buffer, &o.streamDefaults.window)
}

func (s streamSetting) applyRegister(o *registerOptions) {
	s.apply(&o.streamDefaults.buffer, &o.streamDefaults.window)
}

func (s streamSetting) bindOption(bound *boundHandler, _ *registry.Method) error {
	if bound.stream == nil {
		return errors.New("WithStreamBuffer and WithStreamWindow configure handlers of streams")
	}
	s.apply(&bound.stream.buffer, &bound.stream.window)
	return nil
}

func (s streamSetting) apply(buffer, window *int) {
	*buffer, *window = cmp.Or(s.buffer, *buffer), cmp.Or(s.window, *window)
}

// applyDefault sets the fields of bound that the options of the handler have not set.
func (s streamSetting) applyDefault(bound *boundStream) {
	bound.buffer, bound.window = cmp.Or(bound.buffer, s.buffer), cmp.Or(bound.window, s.window)
}

// DefaultStreamBuffer is the default capacity of a stream's channel, in messages. See
// [WithStreamBuffer].
const DefaultStreamBuffer = 100

// WithStreamBuffer sets the capacity of the stream's channel, in messages. The channel holds
// messages that have been acknowledged but not read. If capacity is zero or negative,
// [DefaultStreamBuffer] is used.
func WithStreamBuffer(capacity int) StreamSetting {
	if capacity <= 0 {
		capacity = DefaultStreamBuffer
	}
	return streamSetting{buffer: capacity}
}

// WithStreamWindow sets the size of the stream's send window. This is the maximum number of
// messages that may be waiting for an acknowledgement. With a window, Send waits only for a free
// slot, sends the message, and returns without waiting for the acknowledgement. The order of
// messages is preserved. If messages are not acknowledged, the next Send or Flush returns an
// [UnacknowledgedError] with their numbers. If Send returns this error, it has not sent its own
// message. Both sides of a stream can call Flush; see [Flusher].
//
// A window is used only if the other side has announced a keepalive interval (see [WithKeepalive]),
// because only dynpsrpc peers do so. psrpc peers drop messages for which they have no room, so
// messages in the middle of a window could be lost.
//
// By default, or if n is at most 1, there is no window. Send then waits for the acknowledgement of
// its message, which takes one round trip. In benchmarks, windows of 64 to 1024 messages increase
// the throughput by a factor of 13 to 40.
func WithStreamWindow(n int) StreamSetting { return streamSetting{window: max(n, 1)} }

// optionGroup combines several options into one. O is one of the option interfaces.
type optionGroup[O any] []O

func (g optionGroup[O]) applyServer(o *serverOptions) {
	for _, option := range g {
		if option, ok := any(option).(ServerOption); ok {
			option.applyServer(o)
		}
	}
}

func (g optionGroup[O]) applyRegister(o *registerOptions) {
	for _, option := range g {
		if option, ok := any(option).(ServiceOption); ok {
			option.applyRegister(o)
		}
	}
}

func (g optionGroup[O]) applyConn(o *connOptions) {
	for _, option := range g {
		if option, ok := any(option).(ConnOption); ok {
			option.applyConn(o)
		}
	}
}

// Options combines several options into one. The options are applied in the order in which they are
// passed. To combine options of other types, use [ServerOptions], [ServiceOptions] or
// [ConnOptions].
func Options(options ...Option) Option { return optionGroup[Option](options) }

// ServerOptions combines several options into one. The options are applied in the order in which
// they are passed.
func ServerOptions(options ...ServerOption) ServerOption { return optionGroup[ServerOption](options) }

// ServiceOptions combines several options into one. The options are applied in the order in which
// they are passed.
func ServiceOptions(options ...ServiceOption) ServiceOption {
	return optionGroup[ServiceOption](options)
}

// ConnOptions combines several options into one. The options are applied in the order in which they
// are passed.
func ConnOptions(options ...ConnOption) ConnOption { return optionGroup[ConnOption](options) }
