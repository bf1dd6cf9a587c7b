package wire

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// gzipMagic is the start of every gzip stream. No protobuf message starts with these bytes: as part
// of a tag, the first byte would specify wire type 7, which does not exist.
const gzipMagic = "\x1f\x8b"

// gzipTrailer is the length of a gzip stream's trailer, in bytes. The trailer consists of a
// checksum and the uncompressed length, which are four bytes each.
const gzipTrailer = 8

// maxGzipRatio is slightly above the highest compression ratio that gzip can achieve.
const maxGzipRatio = 1100

var (
	errTruncatedGzip  = errors.New("compressed value is truncated")
	errDecompressSize = errors.New("decompressed value is larger than the limit or than its declared size")
)

// Decompress decompresses value if it is a gzip stream, and returns it unchanged otherwise. It
// returns an error if the stream is damaged or if the decompressed value is larger than limit
// bytes. It also returns an error if the size of the decompressed value differs from the size
// declared in the stream. Oversized streams do not exhaust memory. A stream that declares more than
// limit bytes is not decompressed at all. A stream that contains more than it declares is
// decompressed only up to the declared size.
func Decompress(value []byte, limit int) ([]byte, error) {
	if !IsCompressed(value) {
		return value, nil
	}
	return gunzip(value, limit)
}

// IsCompressed reports whether value starts with gzipMagic, as every gzip stream does.
func IsCompressed(value []byte) bool {
	return len(value) >= len(gzipMagic) && string(value[:len(gzipMagic)]) == gzipMagic
}

// gunzip decompresses a gzip stream. It returns the same errors as Decompress.
func gunzip(value []byte, limit int) ([]byte, error) {
	if len(value) < gzipTrailer {
		return nil, errTruncatedGzip
	}
	size := int64(binary.LittleEndian.Uint32(value[len(value)-4:]))
	if size > int64(limit) {
		return nil, errDecompressSize
	}
	stream, err := gzip.NewReader(bytes.NewReader(value))
	if err != nil {
		return nil, err
	}
	// Read only the first gzip stream, because psrpc writes only one. If value contained several
	// streams, the declared size would apply only to the last one.
	stream.Multistream(false)
	var message bytes.Buffer
	// Most streams declare their true size, so allocate the declared size at once. The size is
	// limited, because a short stream that declares a large size cannot contain that much.
	message.Grow(int(min(size, int64(len(value))*maxGzipRatio)) + bytes.MinRead)
	if _, err := message.ReadFrom(io.LimitReader(stream, size+1)); err != nil {
		return nil, err
	}
	if int64(message.Len()) != size {
		return nil, errDecompressSize
	}
	return message.Bytes(), nil
}
