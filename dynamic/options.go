package dynamic

import (
	"log/slog"
	"unicode/utf8"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Option configures both [NewServer] and [NewConn].
type Option interface {
	ServerOption
	ConnOption
}

// checkID returns an error if the ID of a server or client is not valid UTF-8. owner is "server" or
// "client".
func checkID(owner, id string) error {
	if utf8.ValidString(id) {
		return nil
	}
	return errors.NewErrorf(errors.InvalidArgument, "%s id %q is not valid UTF-8", owner, id)
}

type optionGroup []Option

func (g optionGroup) applyServer(o *serverOptions) {
	for _, option := range g {
		if option != nil {
			option.applyServer(o)
		}
	}
}

func (g optionGroup) applyConn(o *connOptions) {
	for _, option := range g {
		if option != nil {
			option.applyConn(o)
		}
	}
}

// Options combines several options into one. The options are applied in the order in which they are
// passed. [ServerOptions], [ServiceOptions], [ConnOptions] and [CommonOptions] combine options for
// some targets only.
func Options(options ...Option) Option { return optionGroup(options) }

type frameSizeOption int

func (f frameSizeOption) applyServer(o *serverOptions) { o.maxFrameSize = int(f) }
func (f frameSizeOption) applyConn(o *connOptions)     { o.maxFrameSize = int(f) }

// WithMaxFrameSize limits the size of frames in bytes, in addition to the limit of the bus. Sending
// a larger frame fails with code resource_exhausted. A larger frame that is received is dropped and
// counted as a bad frame. If a frame is compressed, the limit also applies to the size before
// compression. By default, or if bytes is zero or negative, only the limit of the bus applies
// to frames, and the decompressed size is limited to [DefaultMaxDecompressedSize].
func WithMaxFrameSize(bytes int) Option {
	return frameSizeOption(max(bytes, 0))
}

const (
	// DefaultMaxDecompressedSize is the maximum size of a decompressed frame in bytes if
	// [WithMaxFrameSize] is not used.
	DefaultMaxDecompressedSize = transport.DefaultMaxDecompressedSize
	// DefaultMaxCompressionRatio is the default of [WithMaxCompressionRatio].
	DefaultMaxCompressionRatio = transport.DefaultMaxRatio
	// DefaultDecompressionMemory is the default of [WithDecompressionMemory] in bytes.
	DefaultDecompressionMemory = 256 << 20
)

// decompressionOptions holds the limits for compressed frames from other peers.
type decompressionOptions struct {
	// maxRatio is the ratio passed to WithMaxCompressionRatio. 0 stands for the default.
	maxRatio int
	// maxMemory is the maximum total size of the decompressed frames in bytes.
	maxMemory int
}

type compressionRatioOption int

func (r compressionRatioOption) applyServer(o *serverOptions) { o.decompressed.maxRatio = int(r) }
func (r compressionRatioOption) applyConn(o *connOptions)     { o.decompressed.maxRatio = int(r) }

// WithMaxCompressionRatio limits the ratio of the decompressed size of a received frame to its
// compressed size. The limit does not apply to frames that are at most 2 MiB large after
// decompression. Frames with a higher ratio are dropped and counted as bad frames. By
// default, or if ratio is zero or negative, the limit is [DefaultMaxCompressionRatio].
func WithMaxCompressionRatio(ratio int) Option { return compressionRatioOption(max(ratio, 0)) }

type decompressionMemoryOption int

func (m decompressionMemoryOption) applyServer(o *serverOptions) { o.decompressed.maxMemory = int(m) }
func (m decompressionMemoryOption) applyConn(o *connOptions)     { o.decompressed.maxMemory = int(m) }

// WithDecompressionMemory limits the total size in bytes of the decompressed frames that a server
// or conn keeps in memory. A server keeps requests while they wait for the client to select a
// server and while they are being handled. Servers and conns keep stream messages until they are
// read.
//
// When the limit is reached, a server refuses further compressed requests and counts them in the
// field Refused of [ServerStats]. It does not claim a refused request. If a refused request
// requires no claim, the server answers it with code resource_exhausted. Queue methods require a
// claim only from psrpc clients. Servers and conns drop further compressed stream messages and
// count them as overflowed.
//
// By default, or if bytes is zero or negative, the limit is [DefaultDecompressionMemory].
func WithDecompressionMemory(bytes int) Option {
	if bytes <= 0 {
		bytes = DefaultDecompressionMemory
	}
	return decompressionMemoryOption(bytes)
}

type emptyTopicPartsOption struct{}

func (emptyTopicPartsOption) applyServer(o *serverOptions) { o.allowEmptyParts = true }
func (emptyTopicPartsOption) applyConn(o *connOptions)     { o.allowEmptyParts = true }

// AllowEmptyTopicParts lets a server register, and a conn use, topics with empty parts, which psrpc
// peers may use. By default, such topics are refused with code invalid_argument, because an empty
// part is usually a variable that has no value. Even with this option, empty parts may stand only
// directly before the last part, as in ["", "n"], or all parts must be empty. The reason is that
// psrpc omits empty parts from NATS subjects. A topic such as ["n", ""] would therefore have the
// same subject as ["", "n"].
func AllowEmptyTopicParts() Option { return emptyTopicPartsOption{} }

type loggerOption struct{ logger *slog.Logger }

func (l loggerOption) applyServer(o *serverOptions) { o.logger = l.logger }
func (l loggerOption) applyConn(o *connOptions)     { o.logger = l.logger }

// WithLogger sets the logger of a server or conn. For example, a server logs panics in handlers and
// frames that it could not send, and a conn logs panics in interceptors if the panics do not reach
// a caller. By default, a server or conn uses the logger of its bus; see [bus.LoggerOf]. If logger
// is nil, slog.Default() is used.
func WithLogger(logger *slog.Logger) Option {
	if logger == nil {
		logger = slog.Default()
	}
	return loggerOption{logger}
}

// ServiceOption configures all services of a server if it is passed to [NewServer], or a single
// service if it is passed to [Server.Register].
type ServiceOption interface {
	ServerOption
	RegisterOption
}

// CommonOption configures [NewServer], [Server.Register] and [NewConn].
type CommonOption interface {
	ServiceOption
	ConnOption
}

// commonOption holds the two options passed to CommonOptions.
type commonOption struct {
	ServiceOption
	ConnOption
}

// CommonOptions combines an option for servers and services with an option for conns. Either of
// them may be nil.
func CommonOptions(service ServiceOption, conn ConnOption) CommonOption {
	return commonOption{ServiceOptions(service), ConnOptions(conn)}
}

type serviceOptionGroup []ServiceOption

func (g serviceOptionGroup) applyServer(o *serverOptions) {
	for _, option := range g {
		if option != nil {
			option.applyServer(o)
		}
	}
}

func (g serviceOptionGroup) applyRegister(o *registerOptions) {
	for _, option := range g {
		if option != nil {
			option.applyRegister(o)
		}
	}
}

// ServiceOptions combines several options into one. The options are applied in the order in which
// they are passed.
func ServiceOptions(options ...ServiceOption) ServiceOption { return serviceOptionGroup(options) }

type serverOptionGroup []ServerOption

func (g serverOptionGroup) applyServer(o *serverOptions) {
	for _, option := range g {
		if option != nil {
			option.applyServer(o)
		}
	}
}

// ServerOptions combines several options into one. The options are applied in the order in which
// they are passed.
func ServerOptions(options ...ServerOption) ServerOption { return serverOptionGroup(options) }

type connOptionGroup []ConnOption

func (g connOptionGroup) applyConn(o *connOptions) {
	for _, option := range g {
		if option != nil {
			option.applyConn(o)
		}
	}
}

// ConnOptions combines several options into one. The options are applied in the order in which they
// are passed.
func ConnOptions(options ...ConnOption) ConnOption { return connOptionGroup(options) }
