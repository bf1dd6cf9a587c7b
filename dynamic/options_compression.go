package dynamic

import (
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// DefaultCompressionThreshold is the default of [WithCompressionThreshold] in bytes. psrpc has the
// same default.
const DefaultCompressionThreshold = transport.DefaultCompressionThreshold

type compressionOption int

func (l compressionOption) applyServer(o *serverOptions) { o.compression.Level = int(l) }
func (l compressionOption) applyConn(o *connOptions)     { o.compression.Level = int(l) }

// WithCompression makes a server or conn compress large messages with gzip: requests, responses,
// stream messages and updates. The level is one of those in package compress/gzip, such as
// gzip.BestSpeed or gzip.DefaultCompression. The default is gzip.NoCompression, with which nothing
// is compressed. Any other level makes [NewConn] and [Server.Register] return an error.
//
// Use the option only if all peers can decompress messages. psrpc can do so since v0.7.6. Older
// versions of psrpc drop compressed messages silently. Peers need no option, because every dynpsrpc
// server and conn decompresses what it receives, within limits (see [WithMaxFrameSize] and
// [WithMaxCompressionRatio]).
//
// A message is sent uncompressed if it is smaller than the threshold (see
// [WithCompressionThreshold]) or if compression does not make it smaller. It is also sent
// uncompressed if receivers with default limits would reject the compressed message; see
// [DefaultMaxDecompressedSize] and [DefaultMaxCompressionRatio]. The limit of the bus applies to
// the compressed frame, that of WithMaxFrameSize to the size before compression.
func WithCompression(level int) Option { return compressionOption(level) }

type compressionThresholdOption int

func (t compressionThresholdOption) applyServer(o *serverOptions) { o.compression.Threshold = int(t) }
func (t compressionThresholdOption) applyConn(o *connOptions)     { o.compression.Threshold = int(t) }

// WithCompressionThreshold sets the size in bytes from which on messages are compressed. The size
// is that of the message on the bus, with IDs and metadata. The option has no effect without
// [WithCompression]. By default, or if bytes is zero or negative, the threshold is
// [DefaultCompressionThreshold].
func WithCompressionThreshold(bytes int) Option { return compressionThresholdOption(bytes) }

// checkCompression returns an error if the compression level is invalid.
func checkCompression(compression transport.Compression) error {
	if compression.Valid() {
		return nil
	}
	return errors.NewErrorf(errors.InvalidArgument,
		"WithCompression: there is no level %d, want one of package compress/gzip, such as gzip.BestSpeed", compression.Level)
}
