package wire

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// gzipMagic begins every gzip stream. No protobuf message begins with its first
// byte, which is a tag with a wire type that does not exist.
const gzipMagic = "\x1f\x8b"

// gzipTrailer is the length of what ends a gzip stream: a checksum, and the
// length of the data before compression.
const gzipTrailer = 8

var (
	errTruncatedGzip  = errors.New("compressed value is truncated")
	errDecompressSize = errors.New("compressed value is larger than the limit, or than it says")
)

// Decompress returns what the value of an envelope holds: the value itself,
// unless psrpc has compressed it with gzip, and then at most limit bytes. It is
// an error if what looks like gzip is damaged, or holds more; a value that says
// so is not expanded at all, and one that lies about it no further than that.
func Decompress(value []byte, limit int) ([]byte, error) {
	if len(value) < len(gzipMagic) || string(value[:len(gzipMagic)]) != gzipMagic {
		return value, nil
	}
	return gunzip(value, limit)
}

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
	stream.Multistream(false) // psrpc writes one; only the last one's size is known
	message, err := io.ReadAll(io.LimitReader(stream, size+1))
	if err != nil {
		return nil, err
	}
	if int64(len(message)) != size {
		return nil, errDecompressSize
	}
	return message, nil
}
